use std::fmt;
use std::sync::Arc;

use steadfast_core::event::Observer;
use steadfast_core::time::Clock;

use crate::any_pipeline::AnySpent;
use crate::request::RequestBuilder;
use crate::response::Response;

type Read = dyn Fn(&Response) -> Option<u32> + Send + Sync;

/// Reads of a response what the call weighed in truth.
#[derive(Clone)]
pub(crate) struct Cost(Arc<Read>);

impl Cost {
    /// Settles what the call took of the limits, if the response tells.
    pub(crate) fn settle<C: Clock, O: Observer>(&self, response: &Response, spent: AnySpent<C, O>) {
        if let Some(used) = (self.0)(response) {
            spent.commit(used);
        }
    }
}

impl fmt::Debug for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cost")
    }
}

/// # What this call cost in truth
///
/// A call is [weighed](RequestBuilder::weight) before it is sent, and what it cost an LLM is known only afterwards.
impl<T, C, O> RequestBuilder<'_, T, C, O> {
    /// Has the response say what the call weighed in truth: `cost` reads it of a response that means success, before that is
    /// returned. `None` leaves it at the [`weight`](Self::weight).
    ///
    /// ```
    /// # use std::future::{Ready, ready};
    /// # use std::num::NonZeroU32;
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use http_body_util::Full;
    /// # use steadfast_client::{ApiClient, RequestBody, Transport, TransportError};
    /// # use steadfast_core::pipeline::Pipeline;
    /// # use steadfast_core::time::ManualClock;
    /// # struct Echo;
    /// # impl Transport for Echo {
    /// #     type Body = Full<Bytes>;
    /// #     type Sending = Ready<Result<Response<Full<Bytes>>, TransportError>>;
    /// #     fn send(&self, _: Request<RequestBody>) -> Self::Sending {
    /// #         ready(Ok(Response::new(Full::new(Bytes::from(r#"{"usage": {"total_tokens": 90}}"#)))))
    /// #     }
    /// # }
    /// use steadfast_core::limits::Counts;
    /// use steadfast_core::rate_limit::{Quota, RateLimits};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Answer { usage: Usage }
    /// #[derive(serde::Deserialize)]
    /// struct Usage { total_tokens: u32 }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (transport, clock) = (Echo, ManualClock::new());
    /// # let timer = &clock;
    /// let (requests, tokens) = (Quota::per_minute(500)?, Quota::per_minute(90_000)?.with_burst(9_000)?);
    /// let limits = RateLimits::new([requests, tokens]);
    /// let client = ApiClient::builder("https://api.example.com/v1", transport, timer)
    ///     .pipeline(Pipeline::builder().rate_limits(limits, [Counts::Calls, Counts::Weight]).build()?)
    ///     .build()?;
    /// # let call = async {
    /// let answer: Answer = client
    ///     .post("chat")
    ///     .weight(NonZeroU32::new(1_000).expect("it is not zero")) // As many as it may cost.
    ///     .cost(|response| Some(response.json::<Answer>().ok()?.usage.total_tokens)) // The rest goes back.
    ///     .send()
    ///     .await?
    ///     .json()?;
    /// # assert_eq!(answer.usage.total_tokens, 90);
    /// # Ok::<(), steadfast_client::Error>(())
    /// # };
    /// # clock.drive(call).expect("it ends")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// What it was less than its weight goes back to the rate limits that count weight, as far as it has not been refilled in the
    /// meantime, and those in line move forward; what it was more is owed, and they wait for it.
    ///
    /// | What became of an attempt | What it costs |
    /// | --- | --- |
    /// | it was given up in line, or refused | nothing |
    /// | it brought the response | what that says |
    /// | it failed, or was given up or too slow after it was sent | its weight: the server may have acted on it |
    ///
    /// It is for responses that are read whole. Of those that are streamed nobody knows here when they have said it: there
    /// are [`StreamingResponse::settle`](crate::StreamingResponse::settle) and [`EventStream::settle`](crate::EventStream::settle).
    pub fn cost(mut self, cost: impl Fn(&Response) -> Option<u32> + Send + Sync + 'static) -> Self {
        self.overrides.cost = Some(Cost(Arc::new(cost)));
        self
    }
}
