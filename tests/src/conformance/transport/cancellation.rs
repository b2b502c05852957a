//! What is dropped half way.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

use super::{Limitation, MS, Stack, answer, request, start, write};
use crate::scripted_server::Step::{Drain, Pause, Read};

/// Polls a future so many times, and returns its output if that was enough.
pub async fn polled<F: Future>(mut future: Pin<&mut F>, times: usize) -> Option<F::Output> {
    let mut left = times;
    std::future::poll_fn(|cx| {
        let Some(less) = left.checked_sub(1) else { return Poll::Ready(None) };
        left = less;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Dropped after any number of polls, an exchange closes its socket.
pub fn cancelled_at_every_await_point<S: Stack>() {
    let head = write("0 OK\r\ncontent-length: 6\r\n\r\n");
    let slowly = [
        vec![Pause(5 * MS), Read, Pause(5 * MS), write("HTTP/1.1 20"), Pause(5 * MS), head, Pause(5 * MS)],
        vec![write("abc"), Pause(5 * MS), write("def"), Drain],
    ];
    for (script, body) in [(slowly.concat(), 4), (slowly.concat(), 4 * 1024 * 1024)] {
        let server = start(&[&script]);
        S::run(async {
            let transport = S::transport();
            let mut points = 0;
            loop {
                let done = {
                    let exchange = pin!(answer(&transport, request("POST", &server.url(), vec![7; body])));
                    polled(exchange, points).await
                };
                if let Some((_, body)) = done {
                    assert_eq!(body, "abcdef");
                    break;
                }
                assert!(S::comes_true(|| server.open() == 0).await, "cancelled after {points} polls");
                points += 1;
            }
            // There are at least the connection, the head and the body to wait for.
            let least = if S::has(Limitation::HeadComesWithBody) { 2 } else { 3 };
            assert!(points >= least, "{points}");
            drop(transport);
            assert!(S::comes_true(|| server.open() == 0).await);
        });
    }
}
