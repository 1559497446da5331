//! URLs of clusters: `redis+cluster://[user:password@]host[:port],host[:port]…`.

use redis::{ConnectionInfo, IntoConnectionInfo as _};

use crate::model::{Error, Result};

/// Where nodes listen if the URL does not say.
const PORT: u16 = 6379;

const FORM: &str = "is no redis+cluster://[user:password@]host[:port],host[:port], nor, with the feature `tls`, a rediss+cluster:// URL";

/// The nodes that a URL names. `None`: it is none of a cluster.
pub(crate) fn parse(url: &str) -> Option<Result<Vec<ConnectionInfo>>> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.strip_suffix("+cluster").or_else(|| scheme.strip_suffix("-cluster"))?;
    let scheme = match scheme {
        "redis" | "valkey" => "redis",
        "rediss" | "valkeys" => "rediss",
        _ => return None,
    };
    // Without the URL, which may have a password.
    Some(read(scheme, rest).ok_or_else(|| Error::invalid("url", FORM)))
}

fn read(scheme: &str, rest: &str) -> Option<Vec<ConnectionInfo>> {
    let place = rest.strip_suffix('/').unwrap_or(rest);
    if place.contains(['/', '?', '#']) {
        return None;
    }
    let (user, hosts) = place.rsplit_once('@').map_or(("", place), |(user, hosts)| (user, hosts));
    let at = if user.is_empty() { "" } else { "@" };
    let info = |host: &str| {
        let name = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
        let port = if name.contains(':') { String::new() } else { format!(":{PORT}") };
        let is_there = !host.is_empty();
        is_there.then(|| format!("{scheme}://{user}{at}{host}{port}/").into_connection_info().ok())?
    };
    hosts.split(',').map(info).collect()
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
