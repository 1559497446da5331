//! Four races against Cloakroom, connect-redis, tower-sessions, actix-session, and sessions that are kept by hand with SET and SADD, each
//! from its own package: `cargo run -p races`. The README beside it shows what they print.
//!
//! Luck decides nothing. Two requests take turns step by step; a process that is to die is killed while a gate before the server
//! holds back its next command. The program starts a `redis-server` of its own and stops it. It ends with 0 if Cloakroom keeps
//! what it promises.

#![allow(clippy::print_stdout)] // an example prints

mod command;
mod contender;
mod contenders;
mod crash;
mod gate;
mod node_packages;
mod outcome;
mod table;
mod versions;

use std::process::ExitCode;

use cloakroom::testing::TestServer;

use contender::{Contender, Outcomes};
use contenders::actix_session::ActixSession;
use contenders::by_hand::ByHand;
use contenders::cloakroom::Cloakroom;
use contenders::connect_redis::ConnectRedis;
use contenders::tower_sessions::TowerSessions;
use node_packages::NodePackages;
use table::Column;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => run().await,
        ["doomed", contender, url] => doomed(contender, url).await.map(|()| ExitCode::SUCCESS),
        _ => Err("usage: races".into()),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("races: {error}");
        ExitCode::FAILURE
    })
}

async fn run() -> Result<ExitCode> {
    let server = TestServer::start()?;
    let url = server.url();
    println!(
        "Redis {}, started for this run. What is true after each race:\n",
        versions::of_server(url).await?
    );
    let cloakroom = Cloakroom::connect(url).await?;
    let outcomes = cloakroom.outcomes(url).await?;
    let columns = [
        Column::of(&cloakroom, &outcomes)?,
        match NodePackages::install().await? {
            Ok(packages) => column(&ConnectRedis::connect(url, packages).await?, url).await?,
            Err(reason) => Column::left_out(versions::connect_redis()?, &reason),
        },
        column(&TowerSessions::connect(url).await?, url).await?,
        column(&ActixSession::connect(url).await?, url).await?,
        column(&ByHand::connect(url).await?, url).await?,
    ];
    print!("{}", table::draw(&columns));
    if outcomes == Outcomes::promised() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("races: cloakroom did not keep what it promises: {outcomes:?}");
    Ok(ExitCode::FAILURE)
}

async fn column(contender: &impl Contender, url: &str) -> Result<Column> {
    Column::of(contender, &contender.outcomes(url).await?)
}

/// The process that is killed while it logs ann out.
async fn doomed(contender: &str, url: &str) -> Result<()> {
    match contender {
        "cloakroom" => crash::log_out_when_told(&Cloakroom::connect(url).await?).await,
        "tower-sessions" => crash::log_out_when_told(&TowerSessions::connect(url).await?).await,
        "actix-session" => crash::log_out_when_told(&ActixSession::connect(url).await?).await,
        "by-hand" => crash::log_out_when_told(&ByHand::connect(url).await?).await,
        _ => Err(format!("no contender is called {contender}").into()),
    }
}
