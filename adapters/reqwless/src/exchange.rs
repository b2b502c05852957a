use core::time::Duration;

use embedded_io_async::{BufRead, Read, Write};
use embedded_nal_async::{Dns, TcpConnect};
use reqwless::client::{HttpClient, HttpRequestHandle};
use reqwless::headers::TransferEncoding;
use reqwless::request::{Method, RequestBody, RequestBuilder};
use reqwless::response::{BodyReader, Response};
use steadfast_http::date::{self, UnixTime};
use steadfast_http::{RetryAfter, classify};

use crate::Buffers;
use crate::failure::Failure;
use crate::request::Request;

/// Makes one attempt on a connection of its own, which is closed when this returns or is dropped.
///
/// Returns the response's status, and how many bytes of body there are in the buffer.
pub(crate) async fn exchange<T: TcpConnect, D: Dns>(
    client: &mut HttpClient<'_, T, D>,
    request: &Request<'_>,
    host: &str,
    buffers: &mut Buffers<'_>,
) -> Result<(u16, usize), Failure> {
    // Until this returns, nothing is sent: what fails in it was never seen by the server, whatever kind of error it is.
    let handle = client.request(request.method, request.url).await.map_err(Failure::NotSent)?;
    // reqwless would leave out the port, and names the host alone.
    let handle = handle.host(host).headers(request.headers);
    match request.body {
        Some(body) => answer(handle.body(body), request.method, buffers).await,
        None => answer(handle, request.method, buffers).await,
    }
}

async fn answer<C: Read + Write, B: RequestBody>(
    mut handle: HttpRequestHandle<'_, C, B>,
    method: Method,
    buffers: &mut Buffers<'_>,
) -> Result<(u16, usize), Failure> {
    let response = handle.send(buffers.head).await.map_err(Failure::after_sending)?;
    let status = response.status.0;
    let retry_after = retry_after(&response);
    if !classify(status, retry_after).is_success() {
        // Its body is left unread: one that is too long, or never ends, must not hide what the status says.
        return Err(Failure::Answered { status, retry_after });
    }
    // Neither has one, whatever length the fields give (RFC 9110 §6.4.1); reqwless knows that of HEAD and not of 304.
    if method == Method::HEAD || status == 304 {
        return Ok((status, 0));
    }
    if response.content_length.is_some() && response.transfer_encoding.contains(&TransferEncoding::Chunked) {
        // Two lengths: an attack, or broken (RFC 9112 §6.3). reqwless would take the chunks' frames for content.
        return Err(Failure::Broken(reqwless::Error::Codec));
    }
    if response.content_length.is_some_and(|length| length > buffers.body.len()) {
        return Err(Failure::TooLong);
    }
    let body_len = read_to_end(response.body().reader(), buffers.body).await?;
    Ok((status, body_len))
}

/// Reads a body to its end.
///
/// By `fill_buf`, which never takes more than the body's length: reqwless's `read_to_end` does, and then overflows, if a
/// server sends more than it said.
async fn read_to_end<R: BufRead>(mut reader: BodyReader<R>, buffer: &mut [u8]) -> Result<usize, Failure> {
    let mut length = 0;
    loop {
        let piece = reader.fill_buf().await.map_err(Failure::after_sending)?;
        let end = length + piece.len();
        if end == length {
            break;
        }
        buffer.get_mut(length..end).ok_or(Failure::TooLong)?.copy_from_slice(piece);
        reader.consume(end - length);
        length = end;
    }
    match reader {
        // The connection ended within a chunk, which reqwless reports as the end of the body.
        BodyReader::Chunked(chunks) if !chunks.is_done() => Err(Failure::Broken(reqwless::Error::ConnectionAborted)),
        BodyReader::Chunked(_) | BodyReader::Empty | BodyReader::FixedLength(_) | BodyReader::ToEnd(_) => Ok(length),
    }
}

/// How long the server asks to wait: the longest, if it says so more than once.
///
/// A date counts only beside the server's own `Date`: no other clock knows when it is. With that, the year that a date with
/// two digits is near to is the same for both.
fn retry_after<C: Read>(response: &Response<'_, '_, C>) -> Option<Duration> {
    let mut dates = response.headers().filter(|(name, _)| name.eq_ignore_ascii_case("date"));
    let server_now = dates.find_map(|(_, value)| date::parse(value, UnixTime::EPOCH));
    let now = server_now.unwrap_or(UnixTime::EPOCH);
    let hints = response.headers().filter_map(|(name, value)| RetryAfter::from_field(name.as_bytes(), value, now));
    let known = hints.filter(|hint| server_now.is_some() || matches!(hint, RetryAfter::Delay(_)));
    known.map(|hint| hint.delay_from(now)).max()
}
