//! How do I put a pipeline before hyper-util's client, as a layer of tower?
//!
//! `cargo run -p steadfast-examples --example tower_hyper`

use std::error::Error;

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;
use steadfast::tower::{Ended, Http};
use steadfast::{Pipeline, Quota, SharedPipeline, SteadfastLayer, TokenBucket, TokioTimer};
use steadfast_tests::faulty_server::{Faults, FaultyServer, Settings};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // A server that answers 503 to every fourth request, or closes the connection.
    let faults = Faults { unavailable: 15, reset: 10, ..Faults::NONE };
    let server = FaultyServer::start(Settings { faults, ..Settings::default() })?;

    let limit = TokenBucket::new(Quota::per_second(50)?.with_burst(10)?);
    let pipeline = SharedPipeline::new(Pipeline::builder().rate_limit(limit).build()?, TokioTimer::new());
    // Without a connection there is nothing that the server could have done: then even a POST is repeated.
    let http = Http::new().never_sent(legacy::Error::is_connect);
    let service = ServiceBuilder::new()
        .layer(SteadfastLayer::new(pipeline, http))
        .service(Client::builder(TokioExecutor::new()).build_http::<Full<&'static [u8]>>());

    for id in 1..=20 {
        let request = Request::get(format!("{}/items/{id}", server.url())).body(Full::default())?;
        // Clones share the pipeline.
        let response = service.clone().oneshot(request).await?;
        if let Some(ended) = response.extensions().get::<Ended>() {
            println!("item {id}: {} after attempt {}; {}", response.status(), ended.attempts, ended.rejected);
            continue;
        }
        println!("item {id}: {} bytes", response.into_body().collect().await?.to_bytes().len());
    }
    println!("{} requests for 20 calls", server.report().requests);
    Ok(())
}
