#![doc = include_str!("../README.md")]
// docs.rs tells of each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod failure;
mod ids;
mod lives;
mod loaded;
mod store;

pub use crate::loaded::Data;
pub use crate::store::CloakroomStore;

/// Implements the trait of one version of tower-sessions.
#[allow(unused_macros)]
macro_rules! implement {
    ($core:ident) => {
        const _: () = {
            use $core::SessionStore;
            use $core::session::{Id, Record};
            use $core::session_store::{Error, Result};

            use crate::failure::Failure;
            use crate::loaded::Loose;
            use crate::store::CloakroomStore;

            impl From<Failure> for Error {
                fn from(failure: Failure) -> Self {
                    match failure {
                        Failure::Unreadable(_) => Self::Decode(failure.to_string()),
                        _ => Self::Backend(failure.to_string()),
                    }
                }
            }

            fn draw() -> i128 {
                Id::default().0
            }

            #[async_trait::async_trait]
            impl SessionStore for CloakroomStore {
                async fn create(&self, record: &mut Record) -> Result<()> {
                    // A refusal leaves the record as it is. Otherwise the next attempt would not know what it
                    // was.
                    let data = record.data.clone();
                    let loose = Loose { id: record.id.0, data, expiry: record.expiry_date };
                    let created = self.create(loose, draw).await?;
                    let Loose { id, data, expiry } = created;
                    *record = Record { id: Id(id), data, expiry_date: expiry };
                    Ok(())
                }

                async fn save(&self, record: &Record) -> Result<()> {
                    let data = record.data.clone();
                    Ok(self.save(Loose { id: record.id.0, data, expiry: record.expiry_date }).await?)
                }

                async fn load(&self, id: &Id) -> Result<Option<Record>> {
                    let loose = self.load(id.0).await?;
                    Ok(loose.map(|Loose { id, data, expiry }| Record {
                        id: Id(id),
                        data,
                        expiry_date: expiry,
                    }))
                }

                async fn delete(&self, id: &Id) -> Result<()> {
                    Ok(self.delete(id.0, draw).await?)
                }
            }
        };
    };
}

#[cfg(feature = "tower-sessions-0-14")]
implement!(tower_sessions_core_014);
#[cfg(feature = "tower-sessions-0-15")]
implement!(tower_sessions_core_015);
