//! What the server has to offer when nothing fails.

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, StatusCode};
use serde_json::json;

/// Items that exist. A bound, so that what is remembered of each path has one.
const ITEMS: u32 = 100_000;

/// The largest body that can be posted.
const LARGEST_BODY: usize = 64 * 1024;

/// What a request asked for: the path it is booked under, and the body of its answer if nothing fails.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: String,
    pub(super) body: Bytes,
}

/// Reads `request` to its end and finds the answer, or the status and the reason if there is none.
pub(super) async fn look_up(request: Request<Incoming>) -> Result<Found, (StatusCode, &'static str)> {
    let path = request.uri().path();
    if request.method() == Method::POST && path == "/items" {
        return echo(request.into_body()).await;
    }
    let id = path.strip_prefix("/items/").and_then(|id| id.parse().ok()).filter(|id| *id < ITEMS);
    match id {
        Some(id) if request.method() == Method::GET => Ok(item(id)),
        _ => Err((StatusCode::NOT_FOUND, "there is GET /items/N, with N below 100000, and POST /items")),
    }
}

fn item(id: u32) -> Found {
    // About two kilobytes: enough for half of it to be a loss.
    let name = format!("item {id} ").repeat(200);
    Found { path: format!("/items/{id}"), body: json!({ "id": id, "name": name }).to_string().into() }
}

async fn echo(body: Incoming) -> Result<Found, (StatusCode, &'static str)> {
    let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
        return Err((StatusCode::PAYLOAD_TOO_LARGE, "the body has more than 64 KiB, or no end"));
    };
    let body = body.to_bytes();
    match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(_) => Ok(Found { path: "/items".to_owned(), body }),
        Err(_) => Err((StatusCode::BAD_REQUEST, "the body is not JSON")),
    }
}
