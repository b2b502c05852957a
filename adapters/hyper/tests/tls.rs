//! TLS on both runtimes, against a server on loopback with a certificate that is made here.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use http::{Request, Uri};
use http_body_util::BodyExt;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use steadfast_client::{RequestBody, Transport};
use steadfast_core::outcome::Processed;
use steadfast_hyper::{HyperSmolTransport, HyperTokioTransport, rustls};

/// A server that answers "ok" to whatever comes over TLS, with a certificate for `localhost`.
struct Server {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    connections: Arc<AtomicUsize>,
}

fn start() -> Server {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let certificate = cert.der().clone();
    let config =
        ServerConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    let (config, connections) = (Arc::new(config), Arc::new(AtomicUsize::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn({
        let connections = Arc::clone(&connections);
        move || {
            for stream in listener.incoming() {
                connections.fetch_add(1, Ordering::SeqCst);
                let config = Arc::clone(&config);
                // A client that does not trust us leaves in the middle of the handshake.
                thread::spawn(move || serve(config, stream?));
            }
        }
    });
    Server { address, certificate, connections }
}

fn serve(config: Arc<ServerConfig>, stream: TcpStream) -> io::Result<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config).map_err(io::Error::other)?, stream);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte)? == 1 {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
            stream.flush()?;
        }
    }
    Ok(())
}

/// A client's settings that trust these and nobody else.
fn trusting(certificates: &[&CertificateDer<'static>]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add((*certificate).clone()).unwrap();
    }
    let config =
        ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    config.unwrap().with_root_certificates(roots).with_no_client_auth()
}

/// What one request brings: the body, or whether the server may have processed it.
async fn get(transport: &impl Transport, url: &str) -> Result<Vec<u8>, Processed> {
    let mut request = Request::new(RequestBody::default());
    *request.uri_mut() = url.parse::<Uri>().unwrap();
    let response = transport.send(request).await.map_err(|error| error.processed())?;
    let body = response.into_body().collect().await.map_err(|_| Processed::Maybe)?;
    Ok(body.to_bytes().to_vec())
}

async fn check<T: Transport, P: Future<Output = ()>>(with_tls: impl Fn(ClientConfig) -> T, pass: impl Fn() -> P) {
    let server = start();
    let port = server.address.port();
    let (named, by_address) = (format!("https://localhost:{port}/"), format!("https://127.0.0.1:{port}/"));

    let trusted = with_tls(trusting(&[&server.certificate]));
    for _ in 0..3 {
        assert_eq!(get(&trusted, &named).await, Ok(b"ok".to_vec()));
        pass().await;
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "the connection is kept alive");
    // The certificate is for a name, and this is not it.
    assert_eq!(get(&trusted, &by_address).await, Err(Processed::No));
    // And one that nobody vouches for.
    let other = start();
    assert_eq!(get(&with_tls(trusting(&[&other.certificate])), &named).await, Err(Processed::No));
    // A server that closes instead of shaking hands.
    let closing = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", closing.local_addr().unwrap().port());
    thread::spawn(move || closing.incoming().for_each(drop));
    assert_eq!(get(&trusted, &url).await, Err(Processed::No));
}

#[tokio::test]
async fn on_tokio() {
    check(HyperTokioTransport::with_tls, || tokio::time::sleep(std::time::Duration::from_millis(30))).await;
}

#[test]
fn on_smol() {
    smol::block_on(check(HyperSmolTransport::with_tls, || async {}));
}

/// The platform's certificates can be loaded, or the error says that they cannot: no panic for want of a default.
#[test]
fn the_platform_is_asked_whom_to_trust() {
    for result in [HyperTokioTransport::new().map(drop), HyperSmolTransport::new().map(drop)] {
        if let Err(error) = result {
            assert!(error.to_string().contains("certificate"), "{error}");
        }
    }
}
