//! The store against Apache Cassandra 5: the contracts on one node, faults on three.

mod cluster;
mod contracts;
mod faults;
mod nodes;
mod opening;
mod tables;
mod tally;

use nodes::{drop_keyspace, kept, keyspace, one_node, session, store};
