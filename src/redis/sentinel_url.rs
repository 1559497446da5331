//! URLs of sentinels: `redis+sentinel://[user:password@]host[:port],host[:port]…/service[/db]`.

use redis::ConnectionInfo;

use crate::model::{Error, Result};
use crate::redis::hosts_url::HostsUrl;

/// The port of sentinels if the URL has none.
const PORT: u16 = 26379;

const FORM: &str = "must be redis+sentinel://[user:password@]host[:port],host[:port]/service[/db], or rediss+sentinel:// with the feature `tls`";

/// What a URL of sentinels says.
pub(crate) struct SentinelUrl {
    pub(crate) sentinels: Vec<ConnectionInfo>,
    pub(crate) service: String,
    /// The settings to connect to the master. Its host is not the master's: the sentinels name that.
    pub(crate) server: ConnectionInfo,
}

impl SentinelUrl {
    /// `None`: it is not a URL of sentinels.
    pub(crate) fn parse(url: &str) -> Option<Result<Self>> {
        let url = HostsUrl::parse(url, "sentinel")?;
        // The error does not quote the URL, which may hold a password.
        Some(Self::read(url).ok_or_else(|| Error::invalid("url", FORM)))
    }

    fn read(url: HostsUrl<'_>) -> Option<Self> {
        let path = url.path?;
        let (service, database) = path.split_once('/').unwrap_or((path, ""));
        if service.is_empty() || path.contains(['?', '#']) || database.contains('/') {
            return None;
        }
        let (sentinels, server) = (url.each("", PORT)?, url.anywhere(database)?);
        Some(Self { sentinels, service: service.to_owned(), server })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> SentinelUrl {
        match SentinelUrl::parse(url) {
            Some(Ok(parsed)) => parsed,
            Some(Err(error)) => panic!("{url}: {error}"),
            None => panic!("{url} is none"),
        }
    }

    #[test]
    fn a_url_has_all_sentinels_and_the_master_is_connected_to_with_its_user_and_database() {
        for scheme in ["redis+sentinel", "redis-sentinel", "valkey+sentinel", "valkey-sentinel"] {
            let url = parsed(&format!("{scheme}://ann:p%40ss@one,two:7000,[::1],[::1]:7001/shop/3"));
            let addresses: Vec<String> = url.sentinels.iter().map(|info| info.addr().to_string()).collect();
            assert_eq!(addresses, ["one:26379", "two:7000", "::1:26379", "::1:7001"]);
            assert!(url.sentinels.iter().all(|info| info.redis_settings().password().is_none()));
            let server = url.server.redis_settings();
            assert_eq!((server.username(), server.password(), server.db()), (Some("ann"), Some("p@ss"), 3));
            assert_eq!(url.service, "shop");
        }
        assert_eq!(parsed("redis+sentinel://one/shop").server.redis_settings().db(), 0);
    }

    #[test]
    fn what_is_no_url_of_sentinels_is_told_apart_from_a_bad_one() {
        for other in ["redis://one/", "memory://", "http+sentinel://one/shop", "one,two"] {
            assert!(SentinelUrl::parse(other).is_none(), "{other}");
        }
        for bad in [
            "redis+sentinel://one",
            "redis+sentinel://one/",
            "redis+sentinel:///shop",
            "redis+sentinel://one,/shop",
            "redis+sentinel://one/shop/x",
            "redis+sentinel://one/shop/0/1",
            "redis+sentinel://one/shop?timeout=1",
            "redis+sentinel://one?timeout=1/shop",
            "redis+sentinel://one:99999/shop",
        ] {
            assert!(SentinelUrl::parse(bad).is_some_and(|parsed| parsed.is_err()), "{bad}");
        }
    }
}
