//! The authorities that a store trusts over TLS, and its own certificate.

use std::fmt;

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::model::{Error, Result};

/// Certificates in PEM, as the builder was given them.
#[derive(Default)]
pub(crate) struct Certificates {
    /// The authorities to trust instead of the platform's.
    pub(crate) root: Option<Vec<u8>>,
    /// The client certificate with its key.
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

/// Hides the secrets.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

/// Adds them to the connection settings, and makes sure that a crypto provider is installed.
pub(crate) fn prepare(info: ConnectionInfo, certificates: &Certificates) -> Result<ConnectionInfo> {
    let Certificates { root, client } = certificates;
    let field = if root.is_some() { "root_certificate" } else { "client_certificate" };
    let has_own = match info.addr() {
        ConnectionAddr::TcpTls { tls_params, .. } => tls_params.is_some(),
        _ if root.is_none() && client.is_none() => return Ok(info),
        _ => return Err(Error::invalid(field, "needs a rediss:// URL")),
    };
    provide();
    if root.is_none() && client.is_none() {
        return Ok(info);
    }
    if has_own {
        return Err(Error::invalid(field, "is in the client too"));
    }
    if let Some(root) = root {
        check("root_certificate", root)?;
    }
    if let Some((certificate, key)) = client {
        check("client_certificate", certificate)?;
        PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            Error::invalid("client_certificate", format!("has a key that is not PEM: {error}"))
        })?;
    }
    let client_tls =
        client.clone().map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    let certificates = TlsCertificates { client_tls, root_cert: root.clone() };
    let client = Client::build_with_tls(info, certificates)
        .map_err(|_| Error::invalid(field, "has a certificate that cannot be read"))?;
    Ok(client.get_connection_info().clone())
}

fn check(field: &'static str, pem: &[u8]) -> Result<()> {
    let read: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(()),
        Ok(_) => Err(Error::invalid(field, "has no certificate in PEM")),
        Err(error) => Err(Error::invalid(field, format!("is not PEM: {error}"))),
    }
}

/// rustls panics at the first connection of a process without a crypto provider. One that the service installed
/// stays.
fn provide() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
