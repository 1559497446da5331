//! Reads the URL of a server. It uses every part or refuses it by name, because an ignored part is missed too late.

use std::collections::BTreeSet;

use redis::{ConnectionInfo, IntoConnectionInfo as _};

use crate::model::{Error, Result};

/// The error never quotes the URL, which may hold a password.
const NO_URL: &str = "must be a URL of a redis server: redis://[user:password@]host[:port][/database]";

const NO_TLS: &str = "is for TLS, but cloakroom was built without its feature `tls`";

const INSECURE: &str = "has #insecure, which would trust any server: name the authority of its certificate by root_certificate instead";

/// The parameters that a URL may have.
const OF_TCP: &[&str] = &["protocol"];
const OF_SOCKET: &[&str] = &["protocol", "db", "user", "pass"];

fn bad(reason: impl Into<String>) -> Error {
    Error::invalid("url", reason)
}

/// Reads a URL.
pub(crate) fn read(url: &str) -> Result<ConnectionInfo> {
    let parsed = redis::parse_redis_url(url).ok_or_else(|| bad(NO_URL))?;
    let is_socket = parsed.scheme().ends_with("unix");
    if matches!(parsed.scheme(), "rediss" | "valkeys") && cfg!(not(feature = "tls")) {
        return Err(bad(NO_TLS));
    }
    match parsed.fragment() {
        None => {}
        Some("insecure") => return Err(bad(INSECURE)),
        Some(_) => return Err(bad("has a part behind #, which has no meaning here")),
    }
    let mut seen = BTreeSet::new();
    for (name, _) in parsed.query_pairs() {
        if !(if is_socket { OF_SOCKET } else { OF_TCP }).contains(&&*name) {
            return Err(bad(format!("has {}, which has no meaning here: see the builder", parameter(&name))));
        }
        if !seen.insert(name.clone()) {
            return Err(bad(format!("has {} twice", parameter(&name))));
        }
    }
    let database = parsed.path().trim_matches('/');
    if !is_socket && !database.is_empty() && database.parse::<u32>().is_err() {
        return Err(bad("has something behind the host that is not a database number"));
    }
    parsed.into_connection_info().map_err(|_| bad(NO_URL))
}

/// Text that is in a URL by mistake may be part of a password.
fn parameter(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.bytes().all(is_plain) { format!("the parameter {name:?}") } else { "a parameter".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        read(url).unwrap_err().to_string()
    }

    #[test]
    fn what_a_url_says_is_used_or_refused_by_name() {
        for (url, expected) in [
            (
                "redis://h/?timeout=5",
                "url has the parameter \"timeout\", which has no meaning here: see the builder",
            ),
            ("redis://h/?db=1", "url has the parameter \"db\", which has no meaning here: see the builder"),
            ("redis://h/?protocol=resp3&protocol=resp2", "url has the parameter \"protocol\" twice"),
            ("redis://u:123?hush@h", "url has a parameter, which has no meaning here: see the builder"),
            ("redis://h/1/2", "url has something behind the host that is not a database number"),
            ("redis://h/-1", "url has something behind the host that is not a database number"),
            ("redis://h#x", "url has a part behind #, which has no meaning here"),
            (
                "unix:///s?timeout=1",
                "url has the parameter \"timeout\", which has no meaning here: see the builder",
            ),
        ] {
            assert_eq!(refused(url), expected, "{url}");
        }
        for url in ["redis://h/?protocol=resp9", "redis://", "redis://0.0.0.0/", "http://h/", "h:6379", ""] {
            assert_eq!(refused(url), format!("url {NO_URL}"), "{url}");
        }
    }

    #[test]
    fn all_that_a_url_may_say_is_read() {
        let info = read("redis://ann:p%40ss@h:7/3?protocol=resp3").unwrap();
        assert_eq!(info.addr().to_string(), "h:7");
        let settings = info.redis_settings();
        assert_eq!((settings.db(), settings.username(), settings.password()), (3, Some("ann"), Some("p@ss")));
        assert_eq!(settings.protocol(), redis::ProtocolVersion::RESP3);
        let info = read("redis+unix:///run/s?db=2&user=ann&pass=p").unwrap();
        let settings = info.redis_settings();
        assert_eq!((settings.db(), settings.username(), settings.password()), (2, Some("ann"), Some("p")));
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn a_url_for_tls_without_the_feature_names_the_feature() {
        assert_eq!(refused("rediss://ann:hush@h/"), format!("url {NO_TLS}"));
        assert!(NO_TLS.contains("`tls`"));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_url_that_turns_the_check_of_certificates_off_is_refused() {
        assert_eq!(refused("rediss://h/#insecure"), format!("url {INSECURE}"));
    }
}
