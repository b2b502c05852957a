use std::pin::{Pin, pin};
use std::task::Poll;

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use http::Method;
use steadfast_core::event::Observer;
use steadfast_core::time::Timer;

use super::keeper::Pending;
use crate::body::RequestBody;
use crate::call::Call;
use crate::client::ApiClient;
use crate::exchange::Extent;
use crate::redirect::Journey;
use crate::request::keyed;
use crate::transport::Transport;

/// How many revalidations are made at once.
const AT_ONCE: usize = 16;

/// # Answers in passing
///
/// Where a server allows `stale-while-revalidate`, a call has a stale answer at once, and another request asks whether it still holds.
/// Nothing here spawns a task, so somebody has to make that request: whoever polls
/// [`revalidations`](ApiClient::revalidations).
impl<T: Transport, C: Timer, O: Observer> ApiClient<T, C, O> {
    /// Makes the requests by which answers are renewed that were stale and given all the same, for as long as it is polled: to be
    /// spawned, or awaited beside the calls. Ends when the client is shut down, and at once if it has no cache.
    ///
    /// ```no_run
    /// # use steadfast_client::{ApiClient, Cache, Error, Transport};
    /// # use steadfast_core::time::Timer;
    /// # use futures_util::future::{Either, select};
    /// # async fn serve<T: Transport, C: Timer>(client: &ApiClient<T, C>) {}
    /// # async fn run<T: Transport, C: Timer>(client: ApiClient<T, C>) {
    /// // On tokio: `tokio::spawn({ let client = client.clone(); async move { client.revalidations().await } })`
    /// select(std::pin::pin!(serve(&client)), std::pin::pin!(client.revalidations())).await;
    /// # }
    /// ```
    ///
    /// While nobody does, a call whose answer is stale asks for itself, and waits. So it does if 64 revalidations are left already.
    /// Of those, 16 are made at once, each as a call through the whole pipeline, with the overrides of the call that left it; of
    /// one response there is one at a time. Their failures are seen by an observer and by nobody else.
    ///
    /// A [`shut_down`](Self::shut_down) waits for those that run, counts them and cancels the rest, as it does with calls.
    ///
    /// Cancel safe: dropped, it drops what it makes. What was left to it is asked for by the next call that wants it.
    pub async fn revalidations(&self) {
        let Some(keeper) = self.cache() else { return };
        // It never starts, and so is stopped as soon as a shutdown begins.
        let flight = self.in_flight().enter();
        let mut stops = pin!(flight.until_stopped());
        let mut running = FuturesUnordered::new();
        let driver = keeper.drive();
        loop {
            // Listening first and looking then, so that nothing is missed between the two.
            let mut more = (running.len() < AT_ONCE).then(|| driver.listen());
            while running.len() < AT_ONCE {
                let Some(pending) = driver.take() else { break };
                running.push(self.revalidate(pending));
            }
            more = more.filter(|_| running.len() < AT_ONCE);
            let stopped = std::future::poll_fn(|cx| {
                if stops.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(true);
                }
                if let Poll::Ready(Some(())) = Pin::new(&mut running).poll_next(cx) {
                    return Poll::Ready(false);
                }
                if more.as_mut().is_some_and(|more| Pin::new(more).poll(cx).is_ready()) {
                    return Poll::Ready(false);
                }
                Poll::Pending
            });
            if stopped.await {
                break;
            }
        }
        // Nothing more is left to it. What runs is the shutdown's to end.
        drop(driver);
        while running.next().await.is_some() {}
    }

    async fn revalidate(&self, pending: Pending) {
        let Pending { url, asked, overrides, .. } = pending;
        let journey = Journey::new(Method::GET, url);
        // Whoever wants it next is told what is wrong.
        let Ok(keyed) = keyed(self, &journey, &overrides) else { return };
        let call =
            Call::new(self, journey, asked.headers, RequestBody::default().into(), overrides, Extent::Whole, keyed);
        drop(call.revalidating().make().await);
    }
}
