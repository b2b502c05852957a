//! How do I put a pipeline before reqwest, as a layer of tower?
//!
//! `cargo run -p steadfast-examples --example tower_reqwest`

use std::error::Error;

use steadfast::core::limits::Told;
use steadfast::http::{head, idempotency};
use steadfast::tower::protocol;
use steadfast::{CallOptions, Outcome, Pipeline, Quota, SharedPipeline, SteadfastLayer, TokenBucket, TokioTimer};
use steadfast_tests::faulty_server::{Faults, FaultyServer, Settings};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // A server that answers 503 to every fourth request, or closes the connection.
    let faults = Faults { unavailable: 15, reset: 10, ..Faults::NONE };
    let server = FaultyServer::start(Settings { faults, ..Settings::default() })?;

    // reqwest has a request and a response of its own, so these closures say what is known of them.
    let reqwest = protocol(
        |request: &reqwest::Request| {
            let method = request.method().as_str().as_bytes();
            CallOptions::new(idempotency::of_request(method, fields(request.headers())))
        },
        reqwest::Request::try_clone,
        |result: Result<&reqwest::Response, &reqwest::Error>| match result {
            Ok(response) => head::classify(response.status().as_u16(), || fields(response.headers()), None),
            // Of a client that follows redirects, it would not say that nothing was sent before.
            Err(error) if error.is_connect() => (Outcome::transient().not_processed(), Told::NOTHING),
            Err(_) => (Outcome::transient(), Told::NOTHING),
        },
    );

    let limit = TokenBucket::new(Quota::per_second(50)?.with_burst(10)?);
    let pipeline = SharedPipeline::new(Pipeline::builder().rate_limit(limit).build()?, TokioTimer::new());
    let client = reqwest::Client::builder().retry(reqwest::retry::never());
    let client = client.redirect(reqwest::redirect::Policy::none()).build()?;
    let service = ServiceBuilder::new().layer(SteadfastLayer::new(pipeline, reqwest)).service(client.clone());

    for id in 1..=20 {
        let request = client.get(format!("{}/items/{id}", server.url())).build()?;
        // Clones share the pipeline.
        let response = service.clone().oneshot(request).await?;
        let status = response.status();
        println!("item {id}: {status}, {} bytes", response.bytes().await?.len());
    }
    println!("{} requests for 20 calls", server.report().requests);
    Ok(())
}

fn fields(headers: &http::HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}
