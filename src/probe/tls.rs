//! TLS for checks: whom we believe, and the handshake.
//!
//! Where it is verified, the chain must lead to a known authority and every certificate must be in
//! its time; the name is compared where that is asked for. One session per check, never resumed: a resumed
//! session would not show the certificate again (RFC 8446 section 2.2).

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_native_certs::CertificateResult;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Deadline, Phase, Run};
use crate::lvs::check::{CheckFailure, CheckWarning, shown};
use crate::lvs::exchange::{Authority, Tls};

/// Whom checks believe, read once.
pub struct Trust {
    /// `Err` says why there is no TLS at all: every check that wants it fails with this.
    ready: Result<Ready, String>,
}

struct Ready {
    verifier: Verifier,
    /// Without and with a look at the server's name.
    configs: [Arc<ClientConfig>; 2],
}

/// What is spoken within TLS, as far as servers want to be told (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// HTTP/2, which must be agreed on.
    Http2,
    /// Anything else: nothing is said of it.
    Other,
}

impl Trust {
    /// The system's authorities: `SSL_CERT_FILE` and `SSL_CERT_DIR` where they are set, else the
    /// places where distributions put them. Reads files.
    pub fn system() -> Self {
        Self::from_found(rustls_native_certs::load_native_certs())
    }

    /// The authorities of one PEM file only. Reads it.
    pub fn file(path: &Path) -> Self {
        Self::from_found(rustls_native_certs::load_certs_from_paths(Some(path), None))
    }

    /// Whoever it is: encrypted, and that is all.
    pub fn anybody() -> Self {
        Self { ready: Ready::new(None) }
    }

    /// No authority: for a context whose checks use no TLS.
    pub fn none() -> Self {
        Self { ready: Err("no certificate authority is configured".to_owned()) }
    }

    fn from_found(found: CertificateResult) -> Self {
        Self { ready: Chain::new(found).and_then(|chain| Ready::new(Some(chain))) }
    }

    fn ready(&self) -> Result<&Ready, CheckFailure> {
        self.ready.as_ref().map_err(|reason| CheckFailure::Local(reason.clone()))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("failure", &self.ready.as_ref().err()).finish()
    }
}

impl Ready {
    fn new(chain: Option<Chain>) -> Result<Self, String> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        let verifier = Verifier { chain: chain.map(Arc::new), name: false, algorithms };
        let named = Verifier { name: true, ..verifier.clone() };
        let configs = [client_config(verifier.clone())?, client_config(named)?].map(Arc::new);
        Ok(Self { verifier, configs })
    }

    fn connector(&self, name: bool, spoken: Spoken) -> TlsConnector {
        let [unnamed, named] = &self.configs;
        let mut config = Arc::clone(if name { named } else { unnamed });
        if spoken == Spoken::Http2 {
            Arc::make_mut(&mut config).alpn_protocols = vec![b"h2".to_vec()];
        }
        TlsConnector::from(config)
    }
}

/// TLS over a fresh connection, or one that has just been told to. `host` is the server name where
/// it is one; an address is never sent (RFC 6066 section 3).
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    tls: &Tls,
    host: Option<&str>,
    run: &Run<'_>,
) -> Result<TlsStream<S>, CheckFailure> {
    handshake_for(Spoken::Other, stream, (tls, host), run).await
}

/// The same for a protocol that may have to be agreed on.
pub(super) async fn handshake_for<S: AsyncRead + AsyncWrite + Unpin>(
    spoken: Spoken,
    stream: S,
    (tls, host): (&Tls, Option<&str>),
    run: &Run<'_>,
) -> Result<TlsStream<S>, CheckFailure> {
    let ready = run.context.trust(&tls.authority)?.ready()?;
    let connector = ready.connector(tls.name, spoken);
    let done = async {
        let name = server_name(host, run.target.ip());
        connector.connect(name, stream).await.map_err(|error| {
            refusal(&error, &tls.authority)
                .unwrap_or_else(|| run.deadline.failure(Phase::Tls, &error))
        })
    };
    let stream = run.bound(Phase::Tls, done).await?;
    let session = stream.get_ref().1;
    if spoken == Spoken::Http2 && session.alpn_protocol() != Some(b"h2") {
        return Err(CheckFailure::Tls("the server does not speak HTTP/2".to_owned()));
    }
    let shown = session.peer_certificates().unwrap_or_default();
    if let Some(days) = ready.verifier.left(shown, tls.warn_days) {
        run.warn(CheckWarning::CertificateEnds { days });
    }
    Ok(stream)
}

/// What is wrong with a handshake, if TLS itself says it.
fn refusal(error: &io::Error, authority: &Authority) -> Option<CheckFailure> {
    use CertificateError::UnknownIssuer;
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let unknown = matches!(inner, rustls::Error::InvalidCertificate(UnknownIssuer));
    Some(CheckFailure::Tls(match authority {
        Authority::File(path) if unknown => {
            format!("certificate signed by none of the authorities in {}", path.display())
        }
        Authority::System if unknown => {
            "certificate signed by no known authority; a private one must be named (`ca`), or be \
             among the system's"
                .to_owned()
        }
        _ => in_words(inner),
    }))
}

/// What TLS itself says is wrong, if the error comes from there.
fn tls_failure(error: &io::Error) -> Option<CheckFailure> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(CheckFailure::Tls(in_words(inner)))
}

/// What an error of a stream, with TLS or without, says about the server. rustls reports an alert,
/// and others what they can't read, as an IO error without a number.
pub(super) fn stream_failure(error: &io::Error, phase: Phase, deadline: Deadline) -> CheckFailure {
    if let Some(failure) = tls_failure(error) {
        return failure;
    }
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            CheckFailure::Protocol(error.to_string())
        }
        _ => deadline.failure(phase, error),
    }
}

/// The faults that certificates really have, in words; the library's for the rest.
fn in_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::UnknownIssuer => "certificate signed by no known authority".into(),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "certificate has expired".into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "certificate is not valid yet".into()
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let names = shown(presented.join(", ").as_bytes());
                format!("certificate is for {names}, not for {}", expected.to_str())
            }
            // What `openssl req -x509` makes: its own authority.
            CertificateError::Other(fault) => format!("certificate self-signed or unfit: {fault}"),
            fault => format!("certificate is invalid: {fault}"),
        },
        error => error.to_string(),
    }
}

/// A `virtualhost` may have a port behind it; the server name has none.
fn server_name(host: Option<&str>, address: IpAddr) -> ServerName<'static> {
    let host = host.map(|host| host.split(':').next().unwrap_or_default());
    match host.map(|host| DnsName::try_from(host.to_owned())) {
        Some(Ok(name)) => ServerName::DnsName(name),
        Some(Err(_)) | None => ServerName::from(address),
    }
}

fn client_config(verifier: Verifier) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Looks at a server's certificate. That the server has its key is always looked at.
#[derive(Debug, Clone)]
struct Verifier {
    /// `None`: anybody will do.
    chain: Option<Arc<Chain>>,
    /// Compare the name.
    name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Whole days until the chain that a server has shown is no longer good, where they are fewer
    /// than `limit`. The library is asked what it would say then.
    fn left(&self, shown: &[CertificateDer<'_>], limit: u16) -> Option<u16> {
        let (end_entity, intermediates) = shown.split_first().filter(|_| limit > 0)?;
        let now = UnixTime::now();
        let then = now.as_secs().saturating_add(u64::from(limit) * DAY);
        let then = UnixTime::since_unix_epoch(Duration::from_secs(then));
        let verdict = match &self.chain {
            Some(chain) => chain.verify(end_entity, intermediates, then, self.algorithms),
            // Its time is looked at before its authority is looked for, and there is none.
            None => Chain::default().verify(end_entity, &[], then, self.algorithms),
        };
        match verdict {
            Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after,
                ..
            })) => {
                let days = not_after.as_secs().saturating_sub(now.as_secs()) / DAY;
                Some(u16::try_from(days).unwrap_or(limit))
            }
            // It ends before it begins.
            Err(rustls::Error::InvalidCertificate(CertificateError::Expired)) => Some(0),
            _ => None,
        }
    }
}

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

/// Compares the chain with the authorities.
struct Chain {
    roots: RootCertStore,
    /// The authorities as they were read, to know a server's own certificate among them.
    certificates: BTreeSet<Vec<u8>>,
}

impl Chain {
    fn new(found: CertificateResult) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let certificates = found.certs.iter().map(|cert| cert.to_vec()).collect();
        // Old authorities that the library cannot read are in many bundles: not our business.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(format!("found no certificate authority{why}"));
        }
        Ok(Self { roots, certificates })
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<(), rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let verdict = verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms.all,
        );
        match verdict {
            // A self-signed certificate that the administrator put among the authorities: openssl
            // takes it, the library does not want an authority as a server. Its time was looked at
            // before that (an expired one is another error).
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.certificates.contains(end_entity.as_ref()) =>
            {
                Ok(())
            }
            verdict => verdict,
        }
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self { roots: RootCertStore::empty(), certificates: BTreeSet::new() }
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("authorities", &self.roots.len()).finish()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(chain) = &self.chain {
            chain.verify(end_entity, intermediates, now, self.algorithms)?;
        }
        if self.name {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
