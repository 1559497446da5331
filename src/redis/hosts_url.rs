//! URLs that name several servers: `redis+<kind>://[user:password@]host[:port],host[:port]…[/path]`.

use redis::{ConnectionInfo, IntoConnectionInfo as _};

/// The parts of such a URL.
#[derive(Clone, Copy)]
pub(crate) struct HostsUrl<'u> {
    scheme: &'static str,
    /// The user and the password, as the URL has them.
    pub(crate) user: &'u str,
    hosts: &'u str,
    /// The text behind the first slash, if there is one.
    pub(crate) path: Option<&'u str>,
}

impl<'u> HostsUrl<'u> {
    /// `None`: the URL is of another kind.
    pub(crate) fn parse(url: &'u str, kind: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = match scheme.strip_suffix(kind)?.strip_suffix(['+', '-'])? {
            "redis" | "valkey" => "redis",
            "rediss" | "valkeys" => "rediss",
            _ => return None,
        };
        let (place, path) = rest.split_once('/').map_or((rest, None), |(place, path)| (place, Some(path)));
        let (user, hosts) = place.rsplit_once('@').map_or(("", place), |(user, hosts)| (user, hosts));
        Some(Self { scheme, user, hosts, path })
    }

    /// The settings to connect to each host as a user, with this port if the URL has none. `None`: one is
    /// not a host.
    pub(crate) fn each(self, user: &str, port: u16) -> Option<Vec<ConnectionInfo>> {
        let with_port = |host: &str| {
            let name = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
            match (host, name.contains(':')) {
                ("", _) => None,
                _ if host.contains(['?', '#']) => None,
                (host, true) => Some(host.to_owned()),
                (host, false) => Some(format!("{host}:{port}")),
            }
        };
        self.hosts.split(',').map(|host| self.info(user, &with_port(host)?, "")).collect()
    }

    /// The settings to connect with the user of the URL, without an address.
    pub(crate) fn anywhere(self, database: &str) -> Option<ConnectionInfo> {
        self.info(self.user, self.hosts.split(',').next()?, database)
    }

    fn info(self, user: &str, host: &str, database: &str) -> Option<ConnectionInfo> {
        let at = if user.is_empty() { "" } else { "@" };
        format!("{}://{user}{at}{host}/{database}", self.scheme).into_connection_info().ok()
    }
}
