//! The page, what it polls, and what Prometheus scrapes.

use std::convert::Infallible;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::load::Load;

const PAGE: &str = include_str!("page.html");

/// Where histograms are cut, in seconds: from an answer on loopback to a call's deadline.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0];

/// The load and the server of the page, until this is dropped.
pub(crate) struct Dashboard {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Dashboard {
    /// Starts both. The page is served on this port of 127.0.0.1, or on one that is free where it is 0.
    pub(crate) async fn start(port: u16) -> Result<Self, Box<dyn Error>> {
        let metrics = recorder()?;
        let load = Load::new()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&load).run());
        tasks.spawn(accept(listener, load, metrics.clone()));
        tasks.spawn(keep_up(metrics));
        Ok(Self { address, _tasks: tasks })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The process has one recorder, whoever asks for it first.
fn recorder() -> Result<PrometheusHandle, String> {
    static RECORDER: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let install = || PrometheusBuilder::new().set_buckets(&BUCKETS)?.install_recorder();
    RECORDER.get_or_init(|| install().map_err(|error| error.to_string())).clone()
}

/// Histograms keep each value until somebody scrapes, or until this.
async fn keep_up(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

async fn accept(listener: TcpListener, load: Arc<Load>, metrics: PrometheusHandle) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: give the others time to end.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (load, metrics) = (Arc::clone(&load), metrics.clone());
        let service = service_fn(move |request| {
            let answered = answer(&request, &load, &metrics);
            async move { Ok::<_, Infallible>(answered) }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn answer(request: &Request<Incoming>, load: &Load, metrics: &PrometheusHandle) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if let (&Method::POST, Some(fault)) = (request.method(), path.strip_prefix("/fault/")) {
        return match load.inject(fault) {
            Some(Ok(())) => response(StatusCode::NO_CONTENT, "text/plain", ""),
            Some(Err(error)) => response(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
            None => response(StatusCode::NOT_FOUND, "text/plain", "there is no such fault"),
        };
    }
    match (request.method(), path) {
        (&Method::GET, "/") => response(StatusCode::OK, "text/html; charset=utf-8", PAGE),
        (&Method::GET, "/state") => response(StatusCode::OK, "application/json", load.state().to_string()),
        (&Method::GET, "/metrics") => response(StatusCode::OK, "text/plain; version=0.0.4", metrics.render()),
        _ => response(StatusCode::NOT_FOUND, "text/plain", "there is GET /, /state and /metrics, and POST /fault/NAME"),
    }
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
