//! How do I call an API on smol, without tokio?
//!
//! `cargo run -p steadfast-examples --example smol_client`

use std::error::Error;
use std::io;
use std::time::Instant;

use smol::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use smol::lock::Mutex;
use smol::net::{TcpListener, TcpStream};
use smol::stream::StreamExt;
use steadfast::{Pipeline, Quota, TokenBucket};

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        // It ends with `main`: a task of smol's is cancelled when it is dropped.
        let _server = smol::spawn(serve(listener));

        let limit = TokenBucket::new(Quota::per_second(20)?.with_burst(5)?);
        let client = steadfast::smol_client(&url)?.pipeline(Pipeline::builder().rate_limit(limit).build()?).build()?;

        println!("20 requests per second, 5 at once, to a server that fails every fourth one:");
        let start = Instant::now();
        for id in 1..=10 {
            let response = client.get(&format!("items/{id}")).send().await?;
            let (attempts, millis) = (response.attempts(), start.elapsed().as_millis());
            println!("{millis:>5} ms  {}, attempts: {attempts}", response.text()?);
        }
        Ok(())
    })
}

/// A server that answers 503 to every fourth request, and says in the others over which connection they came.
async fn serve(listener: TcpListener) -> io::Result<()> {
    let requests = Mutex::new(0);
    let connections = smol::Executor::new();
    let accept = async {
        let mut incoming = listener.incoming().enumerate();
        while let Some((number, stream)) = incoming.next().await {
            connections.spawn(answer(stream?, number + 1, &requests)).detach();
        }
        Ok(())
    };
    connections.run(accept).await
}

async fn answer(stream: TcpStream, connection: usize, requests: &Mutex<u32>) -> io::Result<()> {
    let mut lines = BufReader::new(stream.clone()).lines();
    let mut stream = stream;
    while let Some(request) = lines.next().await.transpose()? {
        while lines.next().await.transpose()?.is_some_and(|field| !field.is_empty()) {}
        let number = {
            let mut requests = requests.lock().await;
            *requests += 1;
            *requests
        };
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (status, body) = match number % 4 {
            0 => ("503 Service Unavailable", String::new()),
            _ => ("200 OK", format!("{path} over connection {connection}")),
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}
