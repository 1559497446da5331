//! What a request costs.

use std::time::Duration;

use cloakroom::clients::redis;

use crate::browser::Browser;
use crate::service::{Service, Stored, rules};

/// How many commands about sessions a server was sent.
fn commands(url: &str) -> u64 {
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    let info: String = redis::cmd("INFO").arg("commandstats").query(&mut connection).unwrap();
    let calls = |line: &str| -> Option<u64> {
        let (command, stats) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let is_ours = ["get", "evalsha", "multi", "exec"].contains(&command);
        is_ours.then(|| stats.split(',').next()?.parse().ok())?
    };
    info.lines().filter_map(calls).sum()
}

#[tokio::test]
async fn a_request_that_changes_nothing_asks_the_store_once_and_one_that_asks_nothing_not_at_all() {
    let rules = rules().touch_interval(Duration::from_secs(60));
    let service = Service::with_rules(Stored::InRedis, rules).await;
    let url = service.server.as_ref().unwrap().url().to_owned();
    let mut browser = Browser::of(&service.app);
    browser.post("/set/cart/tea").await;
    let before = commands(&url);
    browser.get("/nothing").await;
    assert_eq!(commands(&url), before);
    for times in 1..=3 {
        browser.get("/get/cart").await.assert_is("tea");
        assert_eq!(commands(&url) - before, times, "each is a read");
    }
    browser.post("/set/cart/coffee").await.assert_is("coffee");
    assert_eq!(commands(&url) - before, 5, "it was read and patched");
}
