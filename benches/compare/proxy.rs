//! A TCP proxy that passes everything on half a millisecond late, each way: a network as it is between machines.
//!
//! Tokio's timer counts whole milliseconds, so it has threads of its own. In each direction one reads and notes when,
//! another writes when the time has come: what comes meanwhile is not kept waiting longer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Each way.
const DELAY: Duration = Duration::from_micros(500);

/// Starts one before a server, until the process ends. Returns its URL.
pub(crate) fn start(address: String) -> String {
    let late_by = overslept();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&address).unwrap());
            pass_on(client.try_clone().unwrap(), server.try_clone().unwrap(), late_by);
            pass_on(server, client, late_by);
        }
    });
    url
}

/// How much longer than asked for a sleep of that length takes on this machine.
fn overslept() -> Duration {
    let mut times = [(); 50].map(|()| {
        let start = Instant::now();
        thread::sleep(DELAY);
        start.elapsed()
    });
    times.sort();
    times[times.len() / 2].saturating_sub(DELAY)
}

fn pass_on(from: TcpStream, to: TcpStream, late_by: Duration) {
    to.set_nodelay(true).unwrap();
    let (late, due) = channel();
    thread::spawn(move || read(from, &late, DELAY.saturating_sub(late_by)));
    thread::spawn(move || write(to, &due));
}

/// Until the other side ends.
fn read(mut from: TcpStream, late: &Sender<(Instant, Vec<u8>)>, delay: Duration) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let due = Instant::now() + delay;
        if late.send((due, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn write(mut to: TcpStream, due: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((at, bytes)) = due.recv() {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
