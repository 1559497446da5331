//! Opens the store of a namespace, with the namespace's number of partitions.

#[cfg(feature = "tls")]
use std::path::Path;
use std::time::Duration;

use cloakroom::{Error, RedisStore, RedisStoreBuilder, Refusal, Rules};

use crate::failure::Failure;

/// The part of a call's time that a connect may take, so that a silent server does not take all of it.
const CONNECT: u32 = 2;

/// Where sessions are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) url: &'a str,
    pub(crate) namespace: &'a str,
    /// How long one call may take.
    pub(crate) timeout: Duration,
    #[cfg(feature = "tls")]
    pub(crate) certificates: Certificates<'a>,
}

/// Files of certificates.
#[cfg(feature = "tls")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Certificates<'a> {
    /// Of the authorities that sign the server's certificate.
    pub(crate) root: Option<&'a Path>,
    /// The client certificate of this program, and its key.
    pub(crate) client: Option<(&'a Path, &'a Path)>,
}

impl Place<'_> {
    /// Its name, which a departed session records: its servers and its namespace, without user and password.
    pub(crate) fn name(&self) -> String {
        let (_, rest) = self.url.split_once("://").unwrap_or(("", self.url));
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let servers = rest.rsplit_once('@').map_or(rest, |(_, servers)| servers).trim_end_matches('/');
        format!("{servers}/{}", self.namespace)
    }

    fn is_a_cluster(&self) -> bool {
        self.url.split("://").next().is_some_and(|scheme| scheme.ends_with("+cluster"))
    }

    fn builder(&self) -> Result<RedisStoreBuilder, Failure> {
        let builder = RedisStore::builder(self.url).namespace(self.namespace);
        let builder = builder.deadline(self.timeout).connect_timeout(self.timeout / CONNECT).pool_size(1);
        #[cfg(feature = "tls")]
        let builder = self.certificates.given_to(builder)?;
        Ok(builder)
    }
}

#[cfg(feature = "tls")]
impl Certificates<'_> {
    fn given_to(&self, mut builder: RedisStoreBuilder) -> Result<RedisStoreBuilder, Failure> {
        let read =
            |path: &Path| std::fs::read(path).map_err(|error| Failure::Io(path.display().to_string(), error));
        if let Some(root) = self.root {
            builder = builder.root_certificate(read(root)?);
        }
        if let Some((certificate, key)) = self.client {
            builder = builder.client_certificate(read(certificate)?, read(key)?);
        }
        Ok(builder)
    }
}

/// The most partitions that a namespace may have.
const MOST_PARTITIONS: u16 = 1024;

/// Opens the store of a namespace that exists.
pub(crate) async fn open(place: &Place<'_>) -> Result<RedisStore, Failure> {
    // With the largest number, any master of a cluster can say how many there are.
    let partitions = if place.is_a_cluster() { MOST_PARTITIONS } else { 1 };
    build(place, partitions, Rules::new(), RedisStoreBuilder::existing).await
}

/// The same; `None`: it does not exist.
pub(crate) async fn find(place: &Place<'_>) -> Result<Option<RedisStore>, Failure> {
    match open(place).await {
        Err(Failure::Store(Error::Refused(Refusal::NoNamespace))) => Ok(None),
        opened => opened.map(Some),
    }
}

/// The same, and creates a missing namespace with this number of partitions and these rules.
pub(crate) async fn find_or_make(
    place: &Place<'_>,
    partitions: u16,
    rules: Rules,
) -> Result<RedisStore, Failure> {
    match find(place).await? {
        Some(found) => Ok(found),
        None => build(place, partitions, rules, |builder| builder).await,
    }
}

async fn build(
    place: &Place<'_>,
    mut partitions: u16,
    mut rules: Rules,
    kind: impl Fn(RedisStoreBuilder) -> RedisStoreBuilder,
) -> Result<RedisStore, Failure> {
    // The namespace has recorded all three.
    for _ in 0..3 {
        match kind(place.builder()?.partitions(partitions).rules(rules.clone())).build().await {
            Err(Error::Refused(Refusal::Partitions { found, .. })) => partitions = found,
            Err(Error::Refused(Refusal::IdScheme { found, .. })) => rules = rules.id_scheme(found),
            Err(Error::Refused(Refusal::Events { found })) => rules = rules.events(found),
            built => return Ok(built?),
        }
    }
    Ok(kind(place.builder()?.partitions(partitions).rules(rules)).build().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_its_servers_and_its_namespace_and_by_no_password() {
        for (url, name) in [
            ("redis://127.0.0.1/", "127.0.0.1/shop"),
            ("rediss://ann:p@ss@sessions.example.com:7000/3?a=b#c", "sessions.example.com:7000/3/shop"),
            ("redis+cluster://:secret@a:1,b:2", "a:1,b:2/shop"),
            ("redis+sentinel://a:1,b:2/main", "a:1,b:2/main/shop"),
            ("nonsense", "nonsense/shop"),
        ] {
            #[cfg(feature = "tls")]
            let certificates = Certificates { root: None, client: None };
            let place = Place {
                url,
                namespace: "shop",
                timeout: Duration::from_secs(1),
                #[cfg(feature = "tls")]
                certificates,
            };
            assert_eq!(place.name(), name);
        }
    }
}
