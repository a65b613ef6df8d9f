//! Whether the kernel has what the table needs: it is made, in a namespace without packets.

use std::{net::Ipv4Addr, num::NonZeroU16};

use ipnet::Ipv4Net;

use super::{
    Kernel, Ranges, abi,
    layout::{ChainSpec, TABLE},
    new_chain,
    rule::Expr,
    rule_requests,
    socket::{KernelError, Request, Socket},
};
use crate::{
    model::{Balance, Element, Frontend, Pool, Protocol, Verdict},
    plan::Op,
};

/// The kernel cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// A part that can be named is not there.
    #[error(
        "the kernel lacks {option}: its module `{module}` is not there or cannot be loaded; `modprobe {module}` says why"
    )]
    Missing {
        /// The module that has it where it is not built in.
        module: &'static str,
        /// The option of the kernel's configuration.
        option: &'static str,
        /// The kernel's answer.
        source: KernelError,
    },
    /// Each part is there; together they are refused.
    #[error("the kernel's packet filter refuses the table of Services")]
    Refused(#[from] KernelError),
}

/// Makes a table of Services that uses every expression, and lists connections; the kernel loads what modules it needs for
/// that. Call it in a network namespace made for this: the table stays. Blocks for as long as loading takes.
pub fn try_out() -> Result<(), TrialError> {
    let Err(refused) = make_table() else { return Ok(()) };
    for (module, option, part) in parts() {
        if let Err(source) = part.make() {
            return Err(TrialError::Missing { module, option, source });
        }
    }
    Err(refused.into())
}

/// A small table with one sticky Service, whose rules have every expression that any has.
fn make_table() -> Result<(), KernelError> {
    let net = |octets: [u8; 4], length| Ipv4Net::new_assert(Ipv4Addr::from(octets), length);
    let ranges = Ranges {
        pod_cidr: net([10, 244, 0, 0], 29),
        cluster_cidr: net([10, 244, 0, 0], 16),
        service_cidr: net([10, 96, 0, 0], 12),
    };
    let frontend = Frontend { address: Ipv4Addr::new(10, 96, 0, 1), port: 443, protocol: Protocol::Tcp };
    let balance = Balance { count: NonZeroU16::MIN, pool: Pool::Inside, sticky: Some(60) };
    let (mut kernel, _empty) = Kernel::open(ranges)?;
    kernel.apply(&[Op::Add(Element::Service(frontend, Verdict::Balance(balance)))])?;
    list_flows()
}

fn list_flows() -> Result<(), KernelError> {
    Socket::open()?.dump("list connections", Request::flows(abi::CT_GET, |_| {}), |_| {})
}

/// What may be a module of its own.
#[derive(Debug)]
enum Part {
    Socket,
    Table,
    NatChain,
    Rule(Vec<Expr>),
    Flows,
}

/// All of them, each after those it needs.
fn parts() -> Vec<(&'static str, &'static str, Part)> {
    use Expr::*;
    let translate = vec![Value(0, vec![0; 4]), Value(1, vec![0; 2]), DestinationNat { address: 0, port: 1 }];
    vec![
        ("nfnetlink", "CONFIG_NETFILTER_NETLINK", Part::Socket),
        ("nf_tables", "CONFIG_NF_TABLES with CONFIG_NF_TABLES_IPV4", Part::Table),
        ("nf_conntrack_netlink", "CONFIG_NF_CT_NETLINK", Part::Flows),
        ("nft_chain_nat", "CONFIG_NFT_NAT", Part::NatChain),
        ("nft_ct", "CONFIG_NFT_CT", Part::Rule(vec![ConnectionStatus(0)])),
        ("nft_fib_ipv4", "CONFIG_NFT_FIB_IPV4", Part::Rule(vec![SourceType(0)])),
        ("nft_numgen", "CONFIG_NFT_NUMGEN", Part::Rule(vec![Random { to: 0, below: 2, offset: 0 }])),
        ("nft_nat", "CONFIG_NFT_NAT", Part::Rule(translate)),
        ("nft_masq", "CONFIG_NFT_MASQ", Part::Rule(vec![Masquerade])),
        ("nft_reject_ipv4", "CONFIG_NFT_REJECT_IPV4", Part::Rule(vec![ResetTcp])),
    ]
}

impl Part {
    /// Makes the part alone; a table that is there already is no matter.
    fn make(self) -> Result<(), KernelError> {
        let mut requests =
            vec![Request::table(abi::NEWTABLE, abi::NLM_F_CREATE, |out| out.text(abi::TABLE_NAME, TABLE))];
        match self {
            Self::Socket => return Socket::open().map(drop),
            Self::Flows => return list_flows(),
            Self::Table => {}
            Self::NatChain => requests.push(new_chain("prerouting".to_owned())),
            Self::Rule(rule) => {
                let name = "trial".to_owned();
                requests.push(new_chain(name.clone()));
                requests.extend(rule_requests(ChainSpec { name, rules: vec![rule] }));
            }
        }
        Socket::open()?.transaction("try a part of the packet filter", requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a thread with a network namespace of its own, which ends with it.
    fn in_own_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn this_kernel_has_all_parts_alone_and_together() {
        in_own_namespace(|| try_out().unwrap());
        for (module, option, part) in parts() {
            in_own_namespace(|| part.make()).unwrap_or_else(|error| panic!("{module} {option}: {error:?}"));
        }
    }

    #[test]
    fn a_part_that_the_kernel_refuses_is_an_error() {
        let unknown = Part::Rule(vec![Expr::InSet("no-such-set", 0)]);
        assert!(in_own_namespace(|| unknown.make()).is_err());
    }
}
