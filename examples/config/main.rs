//! How do I set up a client by a file, and change it while it runs?
//!
//! `cargo run -p steadfast-examples --example config`, and with `-- --schema` the JSON Schema of the file.

use std::error::Error;
use std::time::{Duration, Instant};

use steadfast::config::{BaseUrl, ClientConfig, ConfigError, read};
use steadfast_tests::faulty_server::{Faults, FaultyServer, Settings};

const FILE: &str = include_str!("api.toml");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--schema") {
        println!("{}", serde_json::to_string_pretty(&schemars::schema_for!(ClientConfig))?);
        return Ok(());
    }
    let server = FaultyServer::start(Settings { faults: Faults::NONE, ..Settings::default() })?;
    let mut config = load(FILE, &server)?;
    let client = steadfast::client(config.base_url.as_str())?;
    // In a program of your own it is `config.apply(client)`, and secrets come from the environment.
    let client = config.apply_with(client, |_variable| Some("a-secret".to_owned()))?.build()?;

    println!("30 calls, at 10 per second and 2 at once:");
    let start = Instant::now();
    let calls = futures_util::future::join_all((1..=30).map(|id| client.get(&format!("items/{id}")).send()));
    let changes = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // In a program of your own: on a signal, or when the file has changed.
        for (from, to) in [
            ("window = \"1m\"", "window = \"1 minute\""),
            ("window = \"1m\"", "window = \"3s\""),
            ("x-tenant = \"blue\"", "x-tenant = \"red\""),
            ("\"10/s burst 2\"", "\"100/s burst 2\""),
        ] {
            let next = load(&FILE.replace(from, to), &server);
            match next.and_then(|next| config.reload(&client, next)) {
                Ok(()) => println!("after {:.1?}: {to}", start.elapsed()),
                Err(error) => println!("after {:.1?}: nothing has changed: {error}", start.elapsed()),
            }
        }
    };
    let (answers, ()) = futures_util::future::join(calls, changes).await;
    for answer in answers {
        answer?;
    }
    println!("All were answered after {:.1?}, and the last 18 did not wait for the old limit.", start.elapsed());
    Ok(())
}

/// Reads a file, for a server that is somewhere else than the file says.
fn load(text: &str, server: &FaultyServer) -> Result<ClientConfig, ConfigError> {
    let mut config: ClientConfig = read(toml::Deserializer::parse(text).unwrap_or_else(|error| panic!("{error}")))?;
    if let Some(url) = BaseUrl::new(server.url()) {
        config.base_url = url;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_makes_sense() {
        let config: ClientConfig = read(toml::Deserializer::parse(FILE).unwrap()).unwrap();
        config.pipeline.unwrap().build::<1>().unwrap();
    }
}
