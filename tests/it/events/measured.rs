//! How soon gateways hear, and what that costs the server, printed: the figures are the machine's too, so nothing is asserted.
//! `cargo test --test it -- events::measured --ignored --nocapture`

use std::time::Instant;

use super::*;

const GATEWAYS: usize = 200;

fn name(gateway: usize) -> String {
    format!("gateway-{gateway}")
}

fn percentile(sorted: &[Duration], hundredths: usize) -> Duration {
    sorted[(sorted.len() - 1) * hundredths / 100]
}

/// How long it takes from the call to the word of it at a gateway, with so many partitions.
async fn hear(context: &Context, store: &Store, streams: &mut [EventStream]) -> Vec<Duration> {
    let mut took = Vec::new();
    for nth in 0..500 {
        let gateway = nth % streams.len();
        let new = NewSession::new().connection("c").node(name(gateway));
        let session = store.create(new).await.unwrap().session;
        next(&mut streams[gateway]).await;
        let began = Instant::now();
        store.delete(&session).await.unwrap();
        assert_eq!(next(&mut streams[gateway]).await.id, *session.id());
        took.push(began.elapsed());
    }
    took.sort();
    assert!(context.server().is_own());
    took
}

#[rstest]
#[tokio::test]
#[ignore = "measures"]
async fn two_hundred_gateways_hear_of_their_sessions(#[values(1, 16)] partitions: u16) {
    let context = Context::own(&[]).await;
    let context = if partitions == 16 { context.spread() } else { context };
    let store = context.store_at(telling()).await;
    let mut streams = Vec::new();
    for gateway in 0..GATEWAYS {
        let reader = context.event_store_at(telling()).await;
        streams.push(reader.events_of_node(&name(gateway), EventsFrom::Now).await.unwrap());
    }
    let clients: String = context.command(&["INFO", "clients"]).await;
    let connected = clients.lines().find(|line| line.starts_with("connected_clients")).unwrap();
    let took = hear(&context, &store, &mut streams).await;
    let (before, began) = (context.count().await, Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let commands = context.cost_since(&before).await.commands;
    let per_second = commands.values().sum::<u64>() as f64 / began.elapsed().as_secs_f64();
    println!(
        "{GATEWAYS} gateways, {partitions} partitions, {connected}: {:?} p50, {:?} p99 from the call of a delete on; \
         {per_second:.0} commands a second while nothing happens: {commands:?}",
        percentile(&took, 50),
        percentile(&took, 99),
    );
}
