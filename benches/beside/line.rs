//! A TCP proxy that passes on so many bytes per second of each connection to the client, and what comes from it at once: a
//! network on which a large reply takes its time.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread sleeps at least: a shorter sleep takes longer than asked for.
const SHORTEST_SLEEP: Duration = Duration::from_micros(300);

/// Starts one before a server, until the process ends. Returns its URL.
pub(crate) fn start(address: String, bytes_per_second: f64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&address).unwrap());
            let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || pass_on(from_client, to_server, f64::INFINITY));
            thread::spawn(move || pass_on(server, client, bytes_per_second));
        }
    });
    url
}

/// Until one side ends.
fn pass_on(mut from: TcpStream, mut to: TcpStream, bytes_per_second: f64) {
    to.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 32 * 1024];
    let mut free_at = Instant::now();
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
        let now = Instant::now();
        free_at = free_at.max(now) + Duration::from_secs_f64(length as f64 / bytes_per_second);
        if free_at > now + SHORTEST_SLEEP {
            thread::sleep(free_at - now);
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
