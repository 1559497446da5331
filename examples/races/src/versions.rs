//! The versions of the contenders and of the server.

use crate::Result;

/// A package of this build, with its version: the one that begins so.
pub(crate) fn of_crate(name: &str, begins: &str) -> Result<String> {
    let mut lines = include_str!("../../../Cargo.lock").lines();
    while let Some(line) = lines.next() {
        if line == format!("name = \"{name}\"")
            && let Some(version) = lines.next().and_then(|line| line.strip_prefix("version = "))
            && let version = version.trim_matches('"')
            && version.starts_with(begins)
        {
            return Ok(format!("{name} {version}"));
        }
    }
    Err(format!("Cargo.lock has no {name} {begins}").into())
}

/// connect-redis and what goes with it, one per line.
pub(crate) fn connect_redis() -> Result<String> {
    let package: serde_json::Value = serde_json::from_str(include_str!("../connect-redis/package.json"))?;
    let lines = ["connect-redis", "express-session", "redis"].map(|name| {
        let version = package["dependencies"][name].as_str().unwrap_or_default();
        format!("{name} {version}")
    });
    Ok(lines.join("\n"))
}

/// The version of a server.
pub(crate) async fn of_server(url: &str) -> Result<String> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let info: redis::InfoDict = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    Ok(info.get("redis_version").unwrap_or_default())
}
