//! The store of the namespace, with as many partitions as that has.

use cloakroom::{Error, RedisStore, RedisStoreBuilder, Refusal, Rules};

use crate::arguments::Common;
use crate::failure::Failure;

/// How long one call may take: whoever waits here has no client waiting.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

/// One call waits so long for a connection.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(5);

/// The store of a namespace that is there.
pub(crate) async fn open(common: &Common) -> Result<RedisStore, Failure> {
    build(common, 1, RedisStoreBuilder::existing).await
}

/// The same, and one that is not there is made with so many partitions.
pub(crate) async fn open_or_make(common: &Common, partitions: u16) -> Result<RedisStore, Failure> {
    match open(common).await {
        Err(Failure::Store(Error::Refused(Refusal::NoNamespace))) => {
            build(common, partitions, |builder| builder).await
        }
        opened => opened,
    }
}

async fn build(
    common: &Common,
    partitions: u16,
    kind: impl Fn(RedisStoreBuilder) -> RedisStoreBuilder,
) -> Result<RedisStore, Failure> {
    let (mut partitions, mut rules) = (partitions, Rules::new());
    // The namespace notes all three.
    for _ in 0..3 {
        match kind(builder(common)?.partitions(partitions).rules(rules.clone())).build().await {
            Err(Error::Refused(Refusal::Partitions { found, .. })) => partitions = found,
            Err(Error::Refused(Refusal::IdScheme { found, .. })) => rules = rules.id_scheme(found),
            Err(Error::Refused(Refusal::Events { found })) => rules = rules.events(found),
            built => return Ok(built?),
        }
    }
    Ok(kind(builder(common)?.partitions(partitions).rules(rules)).build().await?)
}

fn builder(common: &Common) -> Result<RedisStoreBuilder, Failure> {
    let builder = RedisStore::builder(&common.url).namespace(&common.namespace);
    let builder = builder.deadline(DEADLINE).connect_timeout(CONNECT).pool_size(1);
    #[cfg(feature = "tls")]
    let builder = with_certificates(builder, common)?;
    Ok(builder)
}

#[cfg(feature = "tls")]
fn with_certificates(mut builder: RedisStoreBuilder, common: &Common) -> Result<RedisStoreBuilder, Failure> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| Failure::Io(format!("{}", path.display()), error))
    };
    if let Some(root) = &common.root_certificate {
        builder = builder.root_certificate(read(root)?);
    }
    if let (Some(certificate), Some(key)) = (&common.client_certificate, &common.client_key) {
        builder = builder.client_certificate(read(certificate)?, read(key)?);
    }
    Ok(builder)
}
