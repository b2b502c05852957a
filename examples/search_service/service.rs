//! The service: what a program that searches sees of the API.

use std::fmt;

use serde::Deserialize;
use steadfast::{ApiClient, Auth, Pipeline, Quota, ReqwestTransport, TokenBucket, TokioTimer};

/// One page of what was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) results: Vec<Hit>,
    pub(crate) has_more: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Hit {
    pub(crate) title: String,
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) description: String,
}

/// Why nothing was found out.
#[derive(Debug)]
pub(crate) enum SearchError {
    /// The key is missing, wrong or revoked.
    NotAuthorised,
    /// The API finds fault with the request, or has failed, and says so in its own words.
    Api { status: u16, code: String, detail: String },
    /// The API has said nothing, or nothing that can be understood.
    Call(steadfast::Error),
}

/// A search API in the manner of Brave's.
#[derive(Clone, Debug)]
pub(crate) struct SearchService {
    client: ApiClient<ReqwestTransport, TokioTimer>,
}

impl SearchService {
    /// What the API gives at most on one page.
    pub(crate) const PAGE: u32 = 20;

    /// A service at `base_url`, `https://api.search.brave.com/res/v1`, of whose plan so many requests a second are a part.
    ///
    /// What is left of the month it says itself, in each response: once nothing is, calls fail at once, and are not sent.
    pub(crate) fn new(base_url: &str, key: &str, per_second: u32) -> Result<Self, Box<dyn std::error::Error>> {
        let limit = TokenBucket::new(Quota::per_second(per_second)?);
        let client = steadfast::client(base_url)?
            .auth(Auth::api_key("x-subscription-token", key)?)
            .header("accept", "application/json")
            .pipeline(Pipeline::builder().rate_limit(limit).build()?)
            .build()?;
        Ok(Self { client })
    }

    /// Searches the web. Pages count from 0.
    pub(crate) async fn web(&self, query: &str, page: u32) -> Result<Found, SearchError> {
        let request = self.client.get("web/search").query("q", query);
        let request = request.query("count", &Self::PAGE.to_string()).query("offset", &page.to_string());
        let Answer { query, web } = request.send().await?.json()?;
        let results = web.map(|web| web.results).unwrap_or_default();
        Ok(Found { results, has_more: query.more_results_available })
    }
}

impl From<steadfast::Error> for SearchError {
    fn from(error: steadfast::Error) -> Self {
        if let steadfast::Error::Authentication(_) = error {
            return Self::NotAuthorised;
        }
        let said = error.failure().and_then(|failure| {
            let Refusal { error: Reason { code, detail } } = serde_json::from_slice(failure.body()).ok()?;
            // It takes a wrong key for a malformed request (422).
            let is_key = code == "SUBSCRIPTION_TOKEN_INVALID";
            let status = failure.status()?.as_u16();
            Some(if is_key { Self::NotAuthorised } else { Self::Api { status, code, detail } })
        });
        said.unwrap_or(Self::Call(error))
    }
}

impl fmt::Display for SearchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAuthorised => f.write_str("the key is missing, wrong or revoked"),
            Self::Api { status, code, detail } => write!(f, "{status} {code}: {detail}"),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SearchError {}

#[derive(Deserialize)]
struct Answer {
    query: Query,
    /// Not there if nothing was found.
    web: Option<Web>,
}

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    more_results_available: bool,
}

#[derive(Deserialize)]
struct Web {
    results: Vec<Hit>,
}

#[derive(Deserialize)]
struct Refusal {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
    #[serde(default)]
    detail: String,
}
