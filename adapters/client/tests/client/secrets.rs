//! A secret wherever one can be, and everything that can be printed of a client: it is in none of it.

use std::error::Error as _;
use std::fmt::{Debug, Write};

use futures_util::{StreamExt, stream};
use steadfast_client::{Auth, ClientCredentials, IdempotencyKeys, Multipart, Part, Redirects, RequestBody};

use super::*;

const TOKEN: Does = Answers(200, &[], r#"{"access_token":"s3cret","expires_in":1000}"#);

/// All that was printed.
#[derive(Default)]
struct Printed(String);

impl Printed {
    fn debug(&mut self, shown: &dyn Debug) {
        write!(self.0, "{shown:?} {shown:#?} ").unwrap();
    }

    /// An error in every way in which errors are logged: by itself, and with all that it comes from.
    fn error(&mut self, error: &Error) {
        self.debug(error);
        write!(self.0, "{error} ").unwrap();
        if let Some(failure) = error.failure() {
            self.debug(failure);
            write!(self.0, "{failure} {:?} ", failure.history()).unwrap();
        }
        let mut source = error.source();
        while let Some(error) = source {
            write!(self.0, "{error} {error:?} ").unwrap();
            source = error.source();
        }
    }

    fn result(&mut self, result: &Result<steadfast_client::Response, Error>) {
        match result {
            Ok(response) => self.debug(response),
            Err(error) => self.error(error),
        }
    }

    /// Nothing of it is a secret, as it is or as `Basic` encodes it. And something was printed at all.
    fn holds_none(&self) {
        assert!(self.0.contains("api.example.com"), "{}", self.0);
        // ann:s3cret, id:s3cret
        for secret in ["s3cret", "S3CRET", "YW5uOnMzY3JldA", "aWQ6czNjcmV0"] {
            let found = self.0.find(secret);
            let around = found.map(|at| &self.0[at.saturating_sub(200)..(at + 50).min(self.0.len())]);
            assert_eq!(around, None);
        }
    }
}

fn auths() -> [Auth; 7] {
    let signer = |head: &mut http::request::Parts, _: Option<&bytes::Bytes>| {
        head.headers.insert("x-signature", "s3cret".parse()?);
        Ok(())
    };
    [
        Auth::none(),
        Auth::bearer("s3cret").unwrap(),
        Auth::basic("ann", "s3cret").unwrap(),
        Auth::api_key("x-api-key", "s3cret").unwrap(),
        Auth::api_key_in_query("key", "s3cret"),
        Auth::signer(signer),
        Auth::oauth2(ClientCredentials::new("https://login.example.com/token", "id", "s3cret").unwrap()),
    ]
}

/// Whatever the server does, and whoever we are.
#[test]
fn no_secret_is_printed_of_a_call_whatever_becomes_of_it() {
    const FIELDS: &[(&str, &str)] =
        &[("set-cookie", "s3cret"), ("x-token", "s3cret"), ("location", "https://cdn.example.net/x?key=s3cret")];
    const BAD: &[(&str, &str)] = &[("location", "https://me:s3cret@example.com/?key=s3cret")];
    let mut printed = Printed::default();
    for auth in auths() {
        for does in [
            IsDown,
            Resets,
            BreaksOff,
            Hangs,
            GoesOnForEver,
            Answers(200, FIELDS, r#"{"name": {"s3cret": "s3cret"}}"#),
            Answers(200, FIELDS, r#"["s3cret"]"#),
            Answers(200, FIELDS, "\u{1}s3cret"),
            Answers(302, FIELDS, "s3cret"),
            Answers(307, BAD, "s3cret"),
            Answers(401, FIELDS, "s3cret"),
            Answers(404, FIELDS, "s3cret"),
            Answers(429, FIELDS, "s3cret"),
            Answers(500, FIELDS, "s3cret"),
        ] {
            let first =
                if matches!(format!("{auth:?}"), shown if shown.contains("tokens")) { Some(TOKEN) } else { None };
            let script: Vec<_> = first.into_iter().chain([does; 6]).collect();
            let (clock, script) = (ManualClock::new(), Script::new(&script));
            let builder = builder(&clock, &script)
                .auth(auth.clone())
                .header("cookie", "s3cret")
                .idempotency_keys(IdempotencyKeys::raw())
                .redirects(Redirects::any_origin())
                .max_body(10_000);
            printed.debug(&builder);
            let client = builder.build().unwrap();
            printed.debug(&client);
            printed.debug(&auth);
            let request = |path| {
                let request = client.post(path).query("key", "s3cret").header("x-key", "s3cret");
                request.header("authorization", "s3cret").body("s3cret")
            };
            printed.debug(&request("items"));
            match clock.drive(request("items").send()).unwrap() {
                Ok(response) => {
                    printed.debug(&response);
                    for error in [response.json::<Item>().err(), response.json::<Vec<u32>>().err()] {
                        error.iter().for_each(|error| printed.error(error));
                    }
                }
                Err(error) => printed.error(&error),
            }
            match clock.drive(request("items").send_streaming()).unwrap() {
                Ok(mut response) => {
                    printed.debug(&response);
                    if let Some(Err(error)) = clock.drive(response.next()).unwrap() {
                        printed.error(&error);
                    }
                }
                Err(error) => printed.error(&error),
            }
            // Without a field of its own: who we are is told by the client.
            printed.result(&clock.drive(client.get("items?key=s3cret").send()).unwrap());
            clock.drive(client.shut_down(ms(0))).unwrap();
            printed.error(&clock.drive(request("late").send()).unwrap().unwrap_err());
        }
    }
    printed.holds_none();
}

/// What is wrong before anything is sent.
#[test]
fn no_secret_is_printed_of_a_request_that_cannot_be() {
    let clock = ManualClock::new();
    let builder = || builder(&clock, &Script::default());
    let client = builder().build().unwrap();
    let mut printed = Printed::default();
    for request in [
        client.get("https://me:s3cret@elsewhere.example.com/?key=s3cret"),
        client.get("https://me:s3cret@api.example.com:1/?key=s3cret"),
        client.get("http://[?key=s3cret"),
        client.get("x").header("x-key", "s3cret\n"),
        client.get("x").header("authorization", "s3cret\u{7f}"),
        client.post("x").body(RequestBody::stream(stream::iter([Ok::<_, std::io::Error>("s3cret".into())]))),
        client.post("x").multipart(Multipart::new().part("password", Part::new("s3cret"))),
        client.post("x").form([("password", "s3cret")]),
    ] {
        printed.debug(&request);
        printed.result(&clock.drive(request.send()).unwrap());
    }
    for error in [
        builder().header("x-key", "s3cret\n").build().map(drop),
        builder()
            .endpoint("https://me:s3cret@elsewhere.example.com/?key=s3cret", Pipeline::standard())
            .build()
            .map(drop),
        ApiClient::builder("http://me:s3cret@x/?key=s3cret", Script::default(), &clock).build().map(drop),
        Auth::bearer("s3cret\n").map(drop),
        Auth::basic("ann:", "s3cret").map(drop),
        ClientCredentials::new("https://me:s3cret@example.com", "id", "s3cret").map(drop),
    ] {
        printed.error(&error.expect_err("it cannot be"));
    }
    printed.debug(&client);
    printed.holds_none();
}

/// A token server that answers with what is no token.
#[test]
fn no_secret_is_printed_of_a_token_that_cannot_be_had() {
    let mut printed = Printed::default();
    for does in [
        Answers(200, &[], r#"{"access_token":"t","expires_in":"s3cret"}"#),
        Answers(200, &[], r#"{"access_token":["s3cret"]}"#),
        Answers(200, &[], r#"{"access_token":"s3cret\n"}"#),
        Answers(200, &[], "s3cret"),
        Answers(500, &[("set-cookie", "s3cret")], "s3cret"),
        Answers(400, &[], r#"{"error":"invalid_scope","error_description":"s3cret"}"#),
        Answers(400, &[], r#"{"error":"s3cret is wrong"}"#),
        Resets,
    ] {
        let (clock, script) = (ManualClock::new(), Script::new(&[does; 9]));
        let client = builder(&clock, &script).auth(auths().into_iter().next_back().unwrap()).build().unwrap();
        printed.error(&clock.drive(client.get("items").send()).unwrap().unwrap_err());
    }
    printed.holds_none();
}
