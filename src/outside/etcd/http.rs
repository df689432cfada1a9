//! The way to one member of etcd: TCP, TLS, and requests one after the other on one connection.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::EtcdError;
use super::json::{self, Found, Lease};
use crate::config::{Endpoint, EtcdTls};
use crate::keys::Secret;

/// Longest answer, in bytes: one key and its value.
const ANSWER_MAX: usize = 64 * 1024;

/// A connection, in the clear or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Connects to one member.
pub(super) async fn connect(
    endpoint: &Endpoint,
    tls: Option<&EtcdTls>,
) -> Result<Box<dyn Stream>, EtcdError> {
    let address = endpoint.address;
    let failed = |cause| EtcdError::Connect { address, cause };
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    // Small requests, one after the other.
    let _slower = stream.set_nodelay(true);
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|error| EtcdError::Tls(error.to_string()))?;
    let connector = TlsConnector::from(Arc::new(client_config(tls)?));
    Ok(Box::new(connector.connect(name, stream).await.map_err(failed)?))
}

/// Reads the files anew, so that renewed certificates count without a restart.
fn client_config(tls: &EtcdTls) -> Result<ClientConfig, EtcdError> {
    let failed = |error: &dyn std::fmt::Display| EtcdError::Tls(error.to_string());
    let found = match &tls.ca {
        Some(file) => rustls_native_certs::load_certs_from_paths(Some(file), None),
        None => rustls_native_certs::load_native_certs(),
    };
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(found.certs).0 == 0 {
        return Err(EtcdError::Tls("found no certificate authority".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots);
    let Some((cert, key)) = &tls.own else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(&error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| failed(&error))
}

/// Holds a conversation over a connection, to its end.
pub(super) async fn converse<T>(
    stream: Box<dyn Stream>,
    endpoint: &Endpoint,
    talk: impl AsyncFnOnce(Link) -> Result<T, EtcdError>,
) -> Result<T, EtcdError> {
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| broken(&error))?;
    let host = HeaderValue::try_from(endpoint.address.to_string());
    let host = host.map_err(|error| broken(&error))?;
    let mut talk = pin!(talk(Link { sender, host, token: None }));
    tokio::select! {
        biased;
        said = &mut talk => said,
        // What had come by then is still to be read; an error reaches the conversation as well.
        _ = connection => talk.await,
    }
}

fn broken(error: &dyn std::fmt::Display) -> EtcdError {
    EtcdError::Broken(error.to_string())
}

/// A conversation with one member.
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    /// Who we are, where etcd wants to know.
    pub(super) token: Option<Zeroizing<String>>,
}

impl Link {
    pub(super) async fn range(&mut self, key: &str) -> Result<Option<Found>, EtcdError> {
        json::range(&self.post("/v3/kv/range", &json::range_request(key)).await?)
    }

    pub(super) async fn grant(&mut self, seconds: i64) -> Result<Lease, EtcdError> {
        json::grant(&self.post("/v3/lease/grant", &json::grant_request(seconds)).await?)
    }

    /// For how many seconds; 0 when it is gone.
    pub(super) async fn keep_alive(&mut self, lease: i64) -> Result<i64, EtcdError> {
        json::keep_alive(&self.post("/v3/lease/keepalive", &json::lease_request(lease)).await?)
    }

    /// A lease that is gone already is as good.
    pub(super) async fn revoke(&mut self, lease: i64) -> Result<(), EtcdError> {
        match self.post("/v3/lease/revoke", &json::lease_request(lease)).await {
            Ok(_) | Err(EtcdError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn put_if(
        &mut self,
        key: &str,
        value: &str,
        seen_and_lease: (Option<i64>, i64),
    ) -> Result<bool, EtcdError> {
        let request = json::put_request(key, value, seen_and_lease);
        json::txn(&self.post("/v3/kv/txn", &request).await?)
    }

    pub(super) async fn authenticate(
        &mut self,
        name: &str,
        password: &Secret,
    ) -> Result<Zeroizing<String>, EtcdError> {
        let request = json!({ "name": name, "password": password.reveal() });
        json::token(&self.post("/v3/auth/authenticate", &request).await?)
    }

    async fn post(&mut self, path: &str, body: &Value) -> Result<Bytes, EtcdError> {
        let mut request = Request::post(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| broken(&error))?;
        if let Some(token) = &self.token {
            let mut value =
                HeaderValue::try_from(token.as_str()).map_err(|error| broken(&error))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        self.sender.ready().await.map_err(|error| broken(&error))?;
        let answer = self.sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = answer.status();
        let length = answer.body().size_hint().lower();
        if length > ANSWER_MAX as u64 {
            return Err(EtcdError::Nonsense(format!("an answer of {length} bytes")));
        }
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| EtcdError::Broken(error.to_string()))?.to_bytes();
        match status {
            StatusCode::OK => Ok(body),
            status => Err(json::refusal(status.as_u16(), &body)),
        }
    }
}
