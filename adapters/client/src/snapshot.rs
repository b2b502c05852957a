use std::fmt;

use steadfast_core::event::Observer;
use steadfast_core::limits::{self, Tokens};
use steadfast_core::pipeline;
use steadfast_core::time::Timer;

use crate::client::ApiClient;

/// How the policies of one of a client's pipelines stand. Printed, it is a line for each.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EndpointSnapshot {
    /// The path of the calls that go through it; `None` for all others.
    pub path: Option<String>,
    /// How each policy stands.
    pub policies: pipeline::Snapshot<limits::Snapshot<Vec<Tokens>>>,
}

impl fmt::Display for EndpointSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "endpoint: {}", self.path.as_deref().unwrap_or("all others"))?;
        fmt::Display::fmt(&self.policies, f)
    }
}

impl<T, C: Timer, O: Observer> ApiClient<T, C, O> {
    /// How every policy stands now, for an operator to read or an adapter to export: of the client's own pipeline first, and
    /// then of each [`endpoint`](crate::ApiClientBuilder::endpoint)'s.
    ///
    /// ```
    /// # use std::future::{Ready, ready};
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use http_body_util::Full;
    /// # use steadfast_client::{ApiClient, RequestBody, Transport, TransportError};
    /// # use steadfast_core::time::ManualClock;
    /// # struct Echo;
    /// # impl Transport for Echo {
    /// #     type Body = Full<Bytes>;
    /// #     type Sending = Ready<Result<Response<Full<Bytes>>, TransportError>>;
    /// #     fn send(&self, _: Request<RequestBody>) -> Self::Sending { ready(Ok(Response::new(Full::default()))) }
    /// # }
    /// # let clock = ManualClock::new();
    /// use steadfast_core::pipeline::Pipeline;
    /// use steadfast_core::rate_limit::{Quota, TokenBucket};
    ///
    /// let searches = TokenBucket::new(Quota::per_second(1)?.with_burst(3)?);
    /// let client = ApiClient::builder("https://api.example.com/v1", Echo, &clock)
    ///     .endpoint("search", Pipeline::builder().rate_limit(searches).build()?)
    ///     .build()?;
    /// # clock.drive(async { client.get("search").send().await.map(|_| ()) }).expect("it ends")?;
    /// let search = &client.snapshots()[1];
    /// assert_eq!(search.path.as_deref(), Some("/v1/search"));
    /// assert_eq!(search.policies.limits.rates.as_ref().map(|rates| rates[0].left), Some(2));
    /// println!("{search}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The limits of single keys are not in it.
    pub fn snapshots(&self) -> Vec<EndpointSnapshot> {
        self.endpoints().snapshots()
    }
}
