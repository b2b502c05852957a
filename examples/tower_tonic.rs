//! How do I put a pipeline before gRPC, with tonic?
//!
//! `cargo run -p steadfast-examples --example tower_tonic`
//!
//! The layer goes before the calls and not before the channel: gRPC says only at the end of a call how it went, and what a channel
//! sends is a stream that cannot be sent again. The service here is what tonic generates from a `.proto`, written by hand, so that
//! no compiler for those is needed.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use steadfast::http::grpc;
use steadfast::tower::protocol;
use steadfast::{CallOptions, Outcome, Pipeline, Quota, SharedPipeline, SteadfastLayer, TokenBucket, TokioTimer};
use tokio::net::TcpListener;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener));
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_lazy();

    let greeter = protocol(
        // To greet twice does no harm.
        |_: &String| CallOptions::idempotent(),
        |name: &String| Some(name.clone()),
        |result: Result<&String, &Status>| match result {
            Ok(_) => Outcome::success(),
            Err(status) => {
                let pushback = status.metadata().get(grpc::RETRY_PUSHBACK).map(MetadataValue::as_bytes);
                grpc::classify(u32::try_from(i32::from(status.code())).unwrap_or_default(), pushback)
            }
        },
    );
    let limit = TokenBucket::new(Quota::per_second(20)?.with_burst(5)?);
    let pipeline = SharedPipeline::new(Pipeline::builder().rate_limit(limit).build()?, TokioTimer::new());
    let service = ServiceBuilder::new()
        .layer(SteadfastLayer::new(pipeline, greeter))
        .service(service_fn(move |name: String| greet(channel.clone(), name)));

    let start = Instant::now();
    for name in ["Ada", "Grace", "nobody", "Barbara", "Frances"] {
        match service.clone().oneshot(name.to_owned()).await {
            Ok(greeting) => println!("{:>5} ms  {greeting}", start.elapsed().as_millis()),
            Err(error) => println!("{:>5} ms  {name}: {error}", start.elapsed().as_millis()),
        }
    }
    Ok(())
}

/// One call, as a generated client makes it.
async fn greet(channel: Channel, name: String) -> Result<String, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/greeter.Greeter/Greet");
    client.unary(Request::new(name), path, Text).await.map(Response::into_inner)
}

/// A server that is busy every third time and says for how long, knows nobody, and will not be asked twice for Frances.
async fn serve(listener: TcpListener) -> Result<(), tonic::transport::Error> {
    let calls = Arc::new(AtomicU32::new(0));
    let service = service_fn(move |request: http::Request<tonic::body::Body>| {
        let calls = Arc::clone(&calls);
        let answer = move |request: Request<String>| {
            let (name, number) = (request.into_inner(), calls.fetch_add(1, Ordering::Relaxed) + 1);
            std::future::ready(match name.as_str() {
                "nobody" => Err(Status::not_found("nobody is there")),
                "Frances" => Err(unavailable("-1")),
                _ if number % 3 == 2 => Err(unavailable("250")),
                _ => Ok(Response::new(format!("Hello, {name}. You are number {number}."))),
            })
        };
        async move { Ok::<_, Infallible>(tonic::server::Grpc::new(Text).unary(service_fn(answer), request).await) }
    });
    Server::builder().serve_with_incoming(service, TcpListenerStream::new(listener)).await
}

fn unavailable(pushback: &'static str) -> Status {
    let mut status = Status::new(Code::Unavailable, "busy");
    status.metadata_mut().insert(grpc::RETRY_PUSHBACK, MetadataValue::from_static(pushback));
    status
}

/// Messages of plain text, in place of protobuf's.
#[derive(Clone, Copy)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        String::from_utf8(bytes.into()).map(Some).map_err(|_| Status::internal("it is not text"))
    }
}
