//! On the real clock: what is tested is a program with servers, sockets and a page, and none of them knows another. A test
//! waits for what has to come, and the time after which it gives up says nothing but that it will not.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use steadfast_metrics::{Kind, METRICS};

use crate::load::{FAULTS, MET};
use crate::server::Dashboard;

mod browser;

const PAGE: &str = include_str!("page.html");
const GRAFANA: &str = include_str!("grafana.json");

/// What is drawn from metrics as well. The latest events are in no metric.
const PANELS: [&str; 7] =
    ["Rate", "Waits", "Retries and refusals", "Circuit breaker", "Retry budget", "In flight", "What attempts meet"];

/// Each fault of [`FAULTS`], and what of [`MET`] attempts then meet.
const EFFECTS: [(&str, &str); 7] = [
    ("errors", "status_503"),
    ("resets", "connection_lost"),
    ("stalls", "timed_out"),
    ("short-bodies", "cut_short"),
    ("limit", "status_429"),
    ("down", "not_connected"),
    ("none", "answered"),
];

struct Visitor {
    http: reqwest::Client,
    url: String,
}

impl Visitor {
    fn of(dashboard: &Dashboard) -> Self {
        Self { http: reqwest::Client::builder().no_proxy().build().unwrap(), url: dashboard.url() }
    }

    async fn get(&self, path: &str) -> String {
        self.http.get(format!("{}{path}", self.url)).send().await.unwrap().text().await.unwrap()
    }

    async fn press(&self, fault: &str) -> u16 {
        self.http.post(format!("{}/fault/{fault}", self.url)).send().await.unwrap().status().as_u16()
    }

    /// Asks for the state until `shows`.
    async fn until(&self, what: &str, shows: impl Fn(&Value) -> bool) -> Value {
        let ask = async {
            loop {
                let state = serde_json::from_str(&self.get("/state").await).unwrap();
                if shows(&state) {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ask).await.unwrap_or_else(|_| panic!("never shown: {what}"))
    }
}

#[tokio::test]
async fn each_fault_shows_in_the_state() {
    let dashboard = Dashboard::start(0).await.unwrap();
    let visitor = Visitor::of(&dashboard);
    for (fault, met) in EFFECTS {
        let count = |state: &Value| state["sums"]["met"][met].as_u64().unwrap();
        let before = count(&visitor.until("anything", |_| true).await);
        assert_eq!(visitor.press(fault).await, 204);
        let state = visitor.until(fault, |state| count(state) > before).await;
        assert_eq!(state["fault"], fault);
    }
    let well = |state: &Value| state["now"]["breaker"] == "closed" && state["now"]["waiting"] == 0;
    let state = visitor.until("that all is well again", well).await;
    assert!(state["sums"]["retries"].as_u64().unwrap() > 0, "{state}");
    assert_eq!(state["story"].as_array().unwrap().len(), 10);
    assert_eq!(visitor.press("no-such-fault").await, 404);
}

#[tokio::test]
async fn the_breaker_and_the_line_show_in_the_state() {
    let dashboard = Dashboard::start(0).await.unwrap();
    let visitor = Visitor::of(&dashboard);
    visitor.press("down").await;
    visitor.until("an open breaker", |state| state["now"]["breaker"] == "open").await;
    visitor.press("none").await;
    visitor.until("a closed breaker", |state| state["now"]["breaker"] == "closed").await;
    visitor.press("limit").await;
    visitor.until("somebody in line", |state| state["now"]["waiting"].as_u64() > Some(10)).await;
}

#[tokio::test]
async fn prometheus_gets_what_grafana_draws() {
    let dashboard = Dashboard::start(0).await.unwrap();
    let visitor = Visitor::of(&dashboard);
    visitor.press("down").await;
    let refused = |state: &Value| state["sums"]["refused_by_breaker"].as_u64() > Some(0);
    visitor.until("refusals by the breaker", refused).await;
    let scraped = visitor.get("/metrics").await;
    for name in ["steadfast_calls", "steadfast_attempts", "steadfast_circuit_breaker_state", "steadfast_retries"] {
        assert!(scraped.lines().any(|line| line.starts_with(&format!("{name}{{pipeline=\"dashboard\""))), "{name}");
    }
    assert!(scraped.contains("\nsteadfast_call_duration_bucket{"), "quantiles need buckets");
}

#[test]
fn the_page_has_every_panel_button_and_reading_and_loads_nothing() {
    for panel in PANELS.into_iter().chain(["Latest events"]) {
        assert!(PAGE.contains(&format!("data-panel=\"{panel}\"")), "{panel}");
    }
    for fault in FAULTS {
        assert!(PAGE.contains(&format!("data-fault=\"{fault}\"")), "{fault}");
    }
    for met in MET {
        assert!(PAGE.contains(&format!("{met}: \"")), "{met}");
    }
    for elsewhere in ["http://", "https://", "src=", "@import"] {
        assert!(!PAGE.contains(elsewhere), "{elsewhere}");
    }
}

#[test]
fn grafana_draws_the_same_panels_from_metrics_that_there_are() {
    let dashboard: Value = serde_json::from_str(GRAFANA).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let titles: Vec<_> = panels.iter().filter_map(|panel| panel["title"].as_str()).collect();
    for panel in PANELS {
        assert!(titles.contains(&panel), "{panel}");
    }

    // As Prometheus spells them.
    let mut known = BTreeSet::new();
    for metric in METRICS {
        let name = metric.name.replace('.', "_");
        match metric.kind {
            Kind::Histogram => known.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}"))),
            _ => known.extend([name]),
        }
    }
    let mut named = 0;
    for expression in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
        let expression = expression["expr"].as_str().unwrap();
        let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for word in words.filter(|word| word.starts_with("steadfast_") || word.starts_with("http_client_")) {
            assert!(known.contains(word), "{word} in {expression}");
            named += 1;
        }
    }
    assert!(named >= panels.len(), "each panel draws something");
}
