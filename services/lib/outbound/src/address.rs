//! Which addresses may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::BadEntry;

/// A host or network that the operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// By name, in lower case.
    Host(String),
    /// By address: the first bits of it.
    Network(IpAddr, u8),
}

impl Allowed {
    pub(crate) fn parse(entry: &str) -> Result<Allowed, BadEntry> {
        let bad = || BadEntry(entry.to_owned());
        let (address, bits) = match entry.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (entry, None),
        };
        if let Ok(address) = address.parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Ok(most), |bits| bits.parse::<u8>().map_err(|_| bad()))?;
            return if bits <= most { Ok(Allowed::Network(address, bits)) } else { Err(bad()) };
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        match bits.is_none() && !entry.is_empty() && entry.bytes().all(plain) {
            true => Ok(Allowed::Host(entry.to_ascii_lowercase())),
            false => Err(bad()),
        }
    }

    pub(crate) fn covers(&self, host: &str, address: IpAddr) -> bool {
        match self {
            Allowed::Host(allowed) => allowed.eq_ignore_ascii_case(host),
            Allowed::Network(IpAddr::V4(network), bits) => match address.to_canonical() {
                IpAddr::V4(address) => within(&network.octets(), &address.octets(), *bits),
                IpAddr::V6(_) => false,
            },
            Allowed::Network(IpAddr::V6(network), bits) => match address {
                IpAddr::V6(address) => within(&network.octets(), &address.octets(), *bits),
                IpAddr::V4(_) => false,
            },
        }
    }
}

fn within(network: &[u8], address: &[u8], bits: u8) -> bool {
    network.iter().zip(address).enumerate().all(|(at, (one, other))| {
        let left = usize::from(bits).saturating_sub(at * 8).min(8);
        left == 0 || (one ^ other) >> (8 - left) == 0
    })
}

/// Whether an address is somebody's on the public internet. A mapped one is judged as what it stands for.
pub(crate) fn is_global(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => is_global_v6(address),
    }
}

/// IANA's special ranges of IPv4.
const SPECIAL_V4: [([u8; 4], u8); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([192, 175, 48, 0], 24),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
];

fn is_global_v4(address: Ipv4Addr) -> bool {
    let octets = address.octets();
    // 224.0.0.0/4 is multicast, 240.0.0.0/4 reserved, broadcast among it.
    octets[0] < 224 && !SPECIAL_V4.iter().any(|(network, bits)| within(network, &octets, *bits))
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let octets = address.octets();
    let special: [(Ipv6Addr, u8); 4] = [
        // Teredo, benchmarking, ORCHID and the rest of IETF's own.
        (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
        // 6to4.
        (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
        (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    ];
    octets[0] & 0xe0 == 0x20
        && !special.iter().any(|(network, bits)| within(&network.octets(), &octets, *bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn only_what_is_globally_routable_is_public() {
        let check = |text: &str, expected: bool| assert_eq!(is_global(text.parse().unwrap()), expected, "{text}");
        for public in ["8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "193.0.0.1",
                       "223.255.255.255", "198.20.0.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"] {
            check(public, true);
        }
        for private in ["0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",
                        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1",
                        "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
                        "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1",
                        "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1",
                        "100::1", "2001::1", "2001:db8::1", "2001:10::1", "2001:20::1", "2002:7f00:1::1", "3fff::1",
                        "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "5f00::1"] {
            check(private, false);
        }
    }

    #[test]
    fn what_the_operator_allows_is_a_host_or_a_network() {
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let network = Allowed::parse("10.1.0.0/16").unwrap();
        assert!(network.covers("x", at("10.1.255.1")) && network.covers("x", at("::ffff:10.1.0.1")));
        assert!(!network.covers("x", at("10.2.0.1")) && !network.covers("x", at("::1")));
        let odd = Allowed::parse("10.1.2.0/23").unwrap();
        assert!(odd.covers("x", at("10.1.3.9")) && !odd.covers("x", at("10.1.4.0")));
        let host = Allowed::parse("IdP.internal").unwrap();
        assert!(host.covers("idp.INTERNAL", at("10.0.0.1")) && !host.covers("other", at("10.0.0.1")));
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/x", "host/8", "a b", "http://x"] {
            assert!(Allowed::parse(bad).is_err(), "{bad}");
        }
    }
}
