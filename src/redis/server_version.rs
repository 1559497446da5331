//! Checks that a server has all that the scripts need.

use crate::model::{Error, Refusal, Result};

/// The oldest Redis on which the scripts are tested. Older ones lack some of their commands.
const OLDEST: [u32; 2] = [6, 2];

/// Refuses a server that is too old, by its INFO. A server without INFO is accepted.
pub(crate) fn check(info: &str) -> Result<()> {
    let field =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let Some(version) = field("redis_version") else { return Ok(()) };
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else { return Ok(()) };
    if [major, minor] >= OLDEST {
        return Ok(());
    }
    let name = field("server_name").unwrap_or("redis");
    Err(Error::Refused(Refusal::ServerTooOld { found: format!("{name} {version}") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_below_6_2_are_refused_by_name_and_version_and_others_are_not() {
        for version in ["5.0.8", "6.0.20", "6.1.240", "4.0.14"] {
            let info = format!("# Server\r\nredis_version:{version}\r\nredis_git_sha1:00000000\r\n");
            let error = check(&info).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "refused: the server is redis {version}, the store needs redis 6.2 or later, or valkey"
                )
            );
        }
        // Valkey reports the version of Redis that it resembles.
        let valkey = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n";
        for info in [valkey, "redis_version:6.2.0", "redis_version:255.255.255", "redis_version:unknown", ""]
        {
            check(info).unwrap();
        }
    }
}
