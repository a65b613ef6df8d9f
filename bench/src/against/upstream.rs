//! kube-apiserver with etcd, as kubeadm starts them: TLS, client certificates, RBAC, the usual admission plugins.

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::Context;
use skiff_pki::{Pki, PkiSubject};
use skiff_tests::Host;

use crate::measure::inside;
use crate::server::ApiServer;

/// Runs a program until the input ends, in a session of its own, as skiff is: the scheduler shares the machine among sessions.
const UNTIL_INPUT_ENDS: &str = r#"exec 3<&0; setsid "$@" </dev/null & cat <&3 >/dev/null; kill $!; wait"#;

/// What nothing else on the host listens at.
const PORT: u16 = 16443;

/// In documentation alone; kube-apiserver publishes where it is, and takes no address of the loopback interface for that.
const ADVERTISED: [u8; 4] = [192, 0, 2, 1];

/// Both, and nothing else: no controllers, no scheduler, no nodes. They end with it.
pub(super) struct Upstream<'a> {
    host: &'a Host,
    directory: PathBuf,
    processes: Vec<Child>,
}

impl<'a> Upstream<'a> {
    /// Starts the programs of this directory with nothing stored and waits until they are ready.
    pub(super) fn start(host: &'a Host, programs: &Path) -> anyhow::Result<Self> {
        // Beside what skiff stores: on the same file system.
        let directory = host.directory().join("upstream");
        let pki = directory.join("pki");
        std::fs::create_dir(&directory)?;
        let subject = PkiSubject {
            advertise_address: ADVERTISED.into(),
            service_address: IpAddr::from([10, 97, 0, 1]),
            host_name: "upstream".to_owned(),
            domain: "cluster.local".to_owned(),
        };
        let certificates = Pki::open_or_create(&pki, &subject)?;
        let mut upstream = Self { host, directory, processes: Vec::new() };
        let kubeconfig = certificates.kubeconfig(&format!("https://127.0.0.1:{PORT}"), "upstream");
        std::fs::write(upstream.kubeconfig(), kubeconfig)?;
        let data = format!("--data-dir={}", upstream.directory.join("etcd").display());
        upstream.run(&programs.join("etcd"), &[data])?;
        upstream.run(&programs.join("kube-apiserver"), &options(&pki))?;
        inside(&upstream, &["ready"])?;
        Ok(upstream)
    }

    fn run(&mut self, program: &Path, options: &[String]) -> anyhow::Result<()> {
        let name = program.file_name().context("a program's name")?.to_string_lossy();
        let log = File::create(self.directory.join(format!("{name}.log")))?;
        let mut command = self.host.command("sh");
        command.args(["-c", UNTIL_INPUT_ENDS, "sh"]).arg(program).args(options);
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        self.processes.push(command.spawn().with_context(|| program.display().to_string())?);
        Ok(())
    }
}

impl ApiServer for Upstream<'_> {
    fn host(&self) -> &Host {
        self.host
    }

    fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    fn processes(&self) -> &'static [&'static str] {
        &["kube-apiserver", "etcd"]
    }
}

impl Drop for Upstream<'_> {
    fn drop(&mut self) {
        // The API server first: it would complain about etcd.
        while let Some(mut process) = self.processes.pop() {
            drop(process.stdin.take());
            if let Err(error) = process.wait() {
                eprintln!("waiting for the end of a server of Kubernetes: {error}");
            }
        }
    }
}

/// Those of kube-apiserver.
fn options(pki: &Path) -> Vec<String> {
    let file = |option: &str, name: &str| format!("--{option}={}", pki.join(name).display());
    let address = ADVERTISED.map(|byte| byte.to_string()).join(".");
    vec![
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={PORT}"),
        format!("--advertise-address={address}"),
        "--service-cluster-ip-range=10.97.0.0/16".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--enable-bootstrap-token-auth".to_owned(),
        "--allow-privileged".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        file("tls-cert-file", "apiserver.pem"),
        file("tls-private-key-file", "apiserver.pem"),
        file("client-ca-file", "ca.crt"),
        // Nobody asks for tokens here, and the file of their keys is written as kube-apiserver does not read it.
        file("service-account-key-file", "apiserver.pem"),
        file("service-account-signing-key-file", "apiserver.pem"),
        file("requestheader-client-ca-file", "front-proxy-ca.crt"),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
    ]
}
