//! What the README's example calls: a server on loopback that has one item, and answers each connection once.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Where it is. It ends with the program.
pub fn url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
    format!("http://{address}")
}

fn answer(mut stream: TcpStream) {
    let (mut request, mut part) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&part[..length]),
        }
    }
    let (head, body) = match request.starts_with(b"GET /items/7 ") {
        true => ("200 OK", r#"{"name": "lamp"}"#),
        false => ("404 Not Found", ""),
    };
    let length = body.len();
    let _ = write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
}
