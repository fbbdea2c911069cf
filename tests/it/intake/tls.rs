//! TLS: the certificate of the configuration, another one without a restart, and clients that must show theirs.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{configured, source};
use crate::support::{Answered, Client, PATIENCE, Receiver, Workplace, eventually, flag_line};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// Writes the files of a new certificate.
    fn write(&self, place: &Workplace) {
        let (certificate, key) = self.issue();
        place.write("cert.pem", certificate.pem());
        place.write("key.pem", key.serialize_pem());
    }

    /// A client that trusts this authority, and shows a certificate of another.
    fn client(&self, shows: Option<&Self>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match shows {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let (certificate, key) = authority.issue();
                let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        })
    }
}

/// `None` where there is no trust.
fn push(address: SocketAddr, config: &Arc<ClientConfig>) -> Option<Answered> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut client = Client::over(StreamOwned::new(connection, stream));
    client.post(&[], flag_line("a", "1").as_bytes())
}

#[test]
fn a_new_certificate_is_shown_without_a_restart() {
    let (first, second) = (Authority::new(), Authority::new());
    let receiver = Receiver::start();
    let place = configured(&receiver, "bearer: t, tls: {cert: DIR/cert.pem, key: DIR/key.pem}");
    let relay = place.run();
    relay.wait_for_log("not listening for pushes");
    let stalled = source(&place)["stalled"].as_str().unwrap().to_owned();
    assert!(stalled.contains("tls.cert: the file") && stalled.contains("does not exist"), "{stalled}");
    first.write(&place);
    let address = relay.listens("push");
    let (old, new) = (first.client(None), second.client(None));
    assert_eq!(push(address, &old).unwrap().status, 401);
    assert!(push(address, &new).is_none());
    // Nobody is spoken to without TLS.
    assert!(Client::connect(address).post(&[], b"[]").is_none());

    // A key that does not fit is not taken, and nothing is lost by it.
    place.write("key.pem", KeyPair::generate().unwrap().serialize_pem());
    eventually("the new key is refused", || {
        assert_eq!(push(address, &old).unwrap().status, 401);
        relay.log().contains("the new certificate is not used, but the former one").then_some(())
    });
    second.write(&place);
    eventually("the new certificate is shown", || push(address, &new));
    assert!(push(address, &old).is_none());
    assert!(relay.stop().status.success());
}

#[test]
fn clients_must_show_a_certificate_where_that_is_asked() {
    let (server, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let receiver = Receiver::start();
    let place =
        configured(&receiver, "signing: none, tls: {cert: DIR/cert.pem, key: DIR/key.pem, ca: DIR/ca.pem}");
    server.write(&place);
    place.write("ca.pem", clients.0.pem());
    let relay = place.run();
    let address = relay.listens("push");
    assert_eq!(push(address, &server.client(Some(&clients))).unwrap().ids().len(), 1);
    assert!(push(address, &server.client(None)).is_none());
    assert!(push(address, &server.client(Some(&others))).is_none());
    receiver.wait_for(1);
    assert_eq!(place.status()["journal"]["last_sequence"], 1);
    assert!(relay.stop().status.success());
}
