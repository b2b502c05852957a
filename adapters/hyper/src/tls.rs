use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls_platform_verifier::BuilderVerifierExt;

/// Trusts whom the platform trusts.
pub(crate) fn client_config() -> io::Result<ClientConfig> {
    // Named here, because the process's default is set by whoever comes first, and is a panic if two could have been it.
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(io::Error::other)?;
    Ok(config.with_no_client_auth())
}
