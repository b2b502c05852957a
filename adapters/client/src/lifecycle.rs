use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use steadfast_core::event::Observer;
use steadfast_core::time::Timer;
use steadfast_executor::{InFlight, Stopped};

use crate::client::ApiClient;

/// # The end of a client
///
/// | What | When the client is shut down |
/// | --- | --- |
/// | a call that has begun its first attempt | goes on, with its retries, while there is patience; then it is cancelled: [`Error::Cancelled`](crate::Error::Cancelled) |
/// | a call that waits for its first attempt, in line for a limit | is refused at once: [`Error::ShutDown`](crate::Error::ShutDown). Nothing was sent, so it can be made elsewhere |
/// | a call that is made later, on whichever clone | the same |
///
/// A client that is dropped without leaves nothing behind either: what a call holds goes when the call is dropped, and the
/// connections with the last clone.
impl<T, C: Timer, O: Observer> ApiClient<T, C, O> {
    /// Refuses calls from now on, on all clones, waits for those that have begun for at most `patience`, and cancels the
    /// rest. Says how many of them ended and how many did not.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use std::future::{Pending, pending};
    /// # use std::time::Duration;
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use http_body_util::Full;
    /// # use steadfast_client::{ApiClient, Error, RequestBody, Transport, TransportError};
    /// # use steadfast_core::time::ManualClock;
    /// # use futures_util::future::join;
    /// # struct Hangs;
    /// # impl Transport for Hangs {
    /// #     type Body = Full<Bytes>;
    /// #     type Sending = Pending<Result<Response<Full<Bytes>>, TransportError>>;
    /// #     fn send(&self, _: Request<RequestBody>) -> Self::Sending { pending() }
    /// # }
    /// # let clock = ManualClock::new();
    /// # let client = ApiClient::builder("https://api.example.com/v1", Hangs, &clock).build()?;
    /// # clock.drive(async {
    /// let slow = client.get("report").send();
    /// let (slow, stopped) = join(slow, client.shut_down(Duration::from_secs(5))).await;
    /// assert_eq!((stopped.finished, stopped.cancelled), (0, 1));
    /// assert!(matches!(slow, Err(Error::Cancelled(_))));
    /// assert!(matches!(client.get("items").send().await, Err(Error::ShutDown(_))));
    /// # });
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// To wait for as long as it takes, have a patience of [`Duration::MAX`]. It may be asked any number of times, also at
    /// once: whoever has the least patience cancels for all, and each is told the same. A call that nobody polls any more
    /// keeps nobody waiting for longer than a tenth of a second beyond that.
    ///
    /// Cancel safe: dropped, calls are refused all the same, and those that have begun go on.
    pub async fn shut_down(&self, patience: Duration) -> Stopped {
        self.in_flight().shut_down(self.timer(), patience).await
    }

    /// Runs `body` with the client, and shuts it down with this patience when that has ended: with a success, an error or
    /// a panic, which goes on then.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use std::future::{Ready, ready};
    /// # use std::time::Duration;
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use http_body_util::Full;
    /// # use steadfast_client::{ApiClient, Error, RequestBody, Transport, TransportError};
    /// # use steadfast_core::time::ManualClock;
    /// # struct Echo;
    /// # impl Transport for Echo {
    /// #     type Body = Full<Bytes>;
    /// #     type Sending = Ready<Result<Response<Full<Bytes>>, TransportError>>;
    /// #     fn send(&self, _: Request<RequestBody>) -> Self::Sending { ready(Ok(Response::new(Full::default()))) }
    /// # }
    /// # let clock = ManualClock::new();
    /// # let client = ApiClient::builder("https://api.example.com/v1", Echo, &clock).build()?;
    /// # let scope = async {
    /// let (text, kept) = client
    ///     .scope(Duration::from_secs(5), |client| async move {
    ///         let text = client.get("items").send().await?.text()?;
    ///         Ok::<_, Error>((text, client))
    ///     })
    ///     .await?;
    /// // Whoever has kept a clone keeps one that is shut down.
    /// assert!(kept.is_shut_down());
    /// # assert_eq!(text, "");
    /// # Ok::<(), Error>(())
    /// # };
    /// # clock.drive(scope).expect("it ends")?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// Cancel safe: dropped, it cancels what is in flight on any clone, and does not wait.
    pub async fn scope<R, F>(self, patience: Duration, body: impl FnOnce(Self) -> F) -> R
    where
        F: Future<Output = R>,
    {
        let cancels = Cancels(self.in_flight().clone());
        // In an async block, because `body` may panic before it has made its future.
        let result = AssertUnwindSafe(async { body(self.clone()).await }).catch_unwind().await;
        self.shut_down(patience).await;
        drop(cancels);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Whether it was shut down: every call is refused.
    pub fn is_shut_down(&self) -> bool {
        self.in_flight().is_shut_down()
    }

    /// How many calls have begun and not ended, on all clones.
    pub fn running(&self) -> usize {
        self.in_flight().running()
    }

    /// How many calls wait in line for a limit, on all clones, with those that do so between two attempts.
    pub fn waiting(&self) -> usize {
        self.endpoints().waiting()
    }
}

/// Cancels what is in flight when it is dropped.
struct Cancels(InFlight);

impl Drop for Cancels {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
