//! The page in a browser, which is told what to do as the `WebDriver` standard has it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::EFFECTS;
use crate::server::Dashboard;

/// What the page promises: this is the one bound on time that a test asserts.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);

/// `chromedriver`, until this is dropped, and with it the browser.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Driver {
    /// Starts it on a port of its own choice, which it prints.
    fn start() -> (Self, String) {
        let mut driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let driver = Self(driver);
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("successfully on port ")?.1.trim_end_matches('.').to_owned()));
        (driver, port.expect("it says where it listens"))
    }
}

struct Browser {
    http: reqwest::Client,
    session: String,
}

impl Browser {
    async fn open(port: &str, page: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let arguments = json!([
            "--headless",
            // It opens our own page and nothing else; where root runs it, as in containers, there is no sandbox to be had.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ]);
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": arguments } } } });
        let base = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { http, session: base };
        let id = browser.post("", &wanted).await["sessionId"].as_str().unwrap().to_owned();
        browser.session = format!("{}/{id}", browser.session);
        // The window's own edges, which nobody sees, are not to count.
        let size = json!({ "width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": size });
        browser.post("/goog/cdp/execute", &command).await;
        browser.post("/url", &json!({ "url": page })).await;
        browser
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.session)).body(body.to_string());
        Self::value(request).await
    }

    async fn value(request: reqwest::RequestBuilder) -> Value {
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["value"].take()
    }

    /// Presses a button with the mouse.
    async fn press(&self, fault: &str) {
        let button = format!("button[data-fault={fault}]");
        let found = self.post("/element", &json!({ "using": "css selector", "value": button })).await;
        let element = found.as_object().unwrap().values().next().unwrap().as_str().unwrap();
        self.post(&format!("/element/{element}/click"), &json!({})).await;
    }

    /// Evaluates this until it is true. How long that took.
    async fn until(&self, script: &str) -> Duration {
        let start = Instant::now();
        loop {
            let value = self.post("/execute/sync", &json!({ "script": script, "args": [] })).await;
            if value == true {
                return start.elapsed();
            }
            assert!(start.elapsed() < Duration::from_secs(30), "never true: {script}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn screenshot(&self, to: &PathBuf) {
        let picture = Self::value(self.http.get(format!("{}/screenshot", self.session))).await;
        std::fs::write(to, BASE64_STANDARD.decode(picture.as_str().unwrap()).unwrap()).unwrap();
    }

    async fn close(self) {
        Self::value(self.http.delete(&self.session)).await;
    }
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver: run examples/dashboard/browser-test"]
async fn the_page_shows_each_fault_within_two_seconds() {
    let dashboard = Dashboard::start(0).await.unwrap();
    let (_driver, port) = Driver::start();
    let browser = Browser::open(&port, &dashboard.url()).await;
    let reading = |met: &str| format!("document.querySelector('[data-met={met}]')?.textContent");
    let is_well = format!(
        "return parseFloat({}) > 30 && document.querySelector('[data-reading=state]').textContent === 'closed'",
        reading("answered")
    );
    browser.until(&is_well).await;
    let mut late = Vec::new();
    for (fault, met) in EFFECTS.into_iter().filter(|(fault, _)| *fault != "none") {
        let quiet = format!("return {} === '0/s'", reading(met));
        browser.until(&quiet).await;
        browser.press(fault).await;
        let took = browser.until(&format!("return parseFloat({}) > 0", reading(met))).await;
        println!("{fault}: shown after {} ms", took.as_millis());
        if took > SHOWN_WITHIN {
            late.push((fault, took));
        }
        // What the policies make of it is to be seen on the picture as well.
        tokio::time::sleep(Duration::from_secs(3)).await;
        if fault == "down" {
            let picture = std::env::var_os("DASHBOARD_PICTURE").map_or_else(|| "dashboard.png".into(), PathBuf::from);
            browser.screenshot(&picture).await;
        }
        browser.press("none").await;
        browser.until(&is_well).await;
    }
    browser.close().await;
    assert!(late.is_empty(), "shown too late: {late:?}");
}
