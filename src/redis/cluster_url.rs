//! URLs of clusters: `redis+cluster://[user:password@]host[:port],host[:port]…`.

use redis::ConnectionInfo;

use crate::model::{Error, Result};
use crate::redis::hosts_url::HostsUrl;

/// The port of nodes if the URL has none.
const PORT: u16 = 6379;

const FORM: &str = "must be redis+cluster://[user:password@]host[:port],host[:port], or rediss+cluster:// with the feature `tls`";

/// The nodes that a URL names. `None`: it is not a URL of a cluster.
pub(crate) fn parse(url: &str) -> Option<Result<Vec<ConnectionInfo>>> {
    let url = HostsUrl::parse(url, "cluster")?;
    // The error does not quote the URL, which may hold a password.
    Some(read(url).ok_or_else(|| Error::invalid("url", FORM)))
}

fn read(url: HostsUrl<'_>) -> Option<Vec<ConnectionInfo>> {
    if url.path.is_some_and(|path| !path.is_empty()) {
        return None;
    }
    url.each(url.user, PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_nodes_and_the_user_of_all() {
        for scheme in ["redis+cluster", "redis-cluster", "valkey+cluster"] {
            let nodes = parse(&format!("{scheme}://ann:p%40ss@one,two:7000,[::1]:7001/")).unwrap().unwrap();
            let addresses: Vec<String> = nodes.iter().map(|info| info.addr().to_string()).collect();
            assert_eq!(addresses, ["one:6379", "two:7000", "::1:7001"]);
            assert!(nodes.iter().all(|info| info.redis_settings().password() == Some("p@ss")));
        }
    }

    #[test]
    fn what_is_no_url_of_a_cluster_is_told_apart_from_a_bad_one() {
        for other in ["redis://one/", "memory://", "http+cluster://one", "redis+sentinel://one/shop"] {
            assert!(parse(other).is_none(), "{other}");
        }
        for bad in [
            "redis+cluster://",
            "redis+cluster://one,",
            "redis+cluster://one/1",
            "redis+cluster://one?x=1",
            "redis+cluster://one:99999",
        ] {
            assert!(parse(bad).is_some_and(|parsed| parsed.is_err()), "{bad}");
        }
    }
}
