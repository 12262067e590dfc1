//! IP networks in an allow-list.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 or IPv6 network, `192.0.2.0/24`; a single address is the network of itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads `address` or `address/prefix`. `None` for what is none, and for a base with bits set
    /// behind the prefix: `192.0.2.1/24` is a typing error more often than not.
    pub fn parse(text: &str) -> Option<Network> {
        let (base, prefix) = match text.split_once('/') {
            Some((base, prefix)) => (base, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().ok()?;
        let prefix = match prefix {
            None => width(base),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        Network::new(base, prefix)
    }

    /// The stored form: the prefix, then the 4 or 16 bytes of the base.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![self.prefix];
        match self.base {
            IpAddr::V4(base) => bytes.extend(base.octets()),
            IpAddr::V6(base) => bytes.extend(base.octets()),
        }
        bytes
    }

    /// Reads what [`Network::to_bytes`] writes; `None` for what it never writes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Network> {
        let (prefix, base) = bytes.split_first()?;
        let base = match base.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(base).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(base).ok()?),
        };
        Network::new(base, *prefix)
    }

    fn new(base: IpAddr, prefix: u8) -> Option<Network> {
        let network = Network { base, prefix };
        (prefix <= width(base) && bits(base) & !network.mask() == 0).then_some(network)
    }

    /// Whether `address` lies in the network. An IPv4 address in IPv6 clothes counts as IPv4.
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        width(address) == width(self.base) && bits(address) & self.mask() == bits(self.base)
    }

    /// Whether all of `other` lies in the network.
    pub fn covers(self, other: Network) -> bool {
        self.prefix <= other.prefix && self.contains(other.base)
    }

    fn mask(self) -> u128 {
        let rest = u32::from(width(self.base) - self.prefix);
        let all = u128::MAX >> (128 - u32::from(width(self.base)));
        all & u128::MAX.checked_shl(rest).unwrap_or(0)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.base)?;
        if self.prefix == width(self.base) { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // columns
    fn a_network_is_written_as_it_is_read() {
        let check = |text: &str, ok: bool| {
            let network = Network::parse(text);
            assert_eq!(network.map(|network| network.to_string()), ok.then(|| text.to_owned()), "{text}");
            assert_eq!(network.and_then(|network| Network::from_bytes(&network.to_bytes())), network);
        };
        check("192.0.2.0/24",     true);
        check("192.0.2.7",        true);
        check("0.0.0.0/0",        true);
        check("2001:db8::/32",    true);
        check("2001:db8::7",      true);
        check("::/0",             true);
        check("192.0.2.1/24",     false);
        check("192.0.2.0/33",     false);
        check("192.0.2.0/",       false);
        check("192.0.2.0/+24",    false);
        check("2001:db8::/129",   false);
        check("2001:db8::1/32",   false);
        check("192.0.2",          false);
        check("example.com",      false);
        check("",                 false);
        assert_eq!(Network::parse("192.0.2.7/32"), Network::parse("192.0.2.7"));
    }

    #[test]
    #[rustfmt::skip] // columns
    fn an_address_is_in_a_network_or_not() {
        let check = |network: &str, address: &str, expected: bool| {
            let found = Network::parse(network).unwrap().contains(address.parse().unwrap());
            assert_eq!(found, expected, "{address} in {network}");
        };
        check("192.0.2.0/24",  "192.0.2.255",         true);
        check("192.0.2.0/24",  "192.0.3.0",           false);
        check("192.0.2.0/24",  "::ffff:192.0.2.9",    true);
        check("192.0.2.0/24",  "::c000:209",          false);
        check("192.0.2.7",     "192.0.2.7",           true);
        check("192.0.2.7",     "192.0.2.6",           false);
        check("0.0.0.0/0",     "203.0.113.9",         true);
        check("0.0.0.0/0",     "2001:db8::1",         false);
        check("2001:db8::/32", "2001:db8:ffff::1",    true);
        check("2001:db8::/32", "2001:db9::1",         false);
        check("::/0",          "2001:db8::1",         true);
    }

    #[test]
    #[rustfmt::skip] // columns
    fn a_network_covers_what_lies_inside_it() {
        let check = |outer: &str, inner: &str, expected: bool| {
            let found = Network::parse(outer).unwrap().covers(Network::parse(inner).unwrap());
            assert_eq!(found, expected, "{inner} in {outer}");
        };
        check("192.0.2.0/24", "192.0.2.0/24",  true);
        check("192.0.2.0/24", "192.0.2.128/25", true);
        check("192.0.2.0/24", "192.0.2.7",     true);
        check("192.0.2.0/24", "192.0.0.0/16",  false);
        check("192.0.2.0/24", "192.0.3.0/24",  false);
        check("0.0.0.0/0",    "::/0",          false);
    }
}
