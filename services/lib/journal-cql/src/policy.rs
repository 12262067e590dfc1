//! Which node coordinates a conditional write.

use scylla::cluster::{ClusterState, NodeRef};
use scylla::policies::load_balancing::{FallbackPlan, LoadBalancingPolicy, RoutingInfo};
use scylla::routing::Shard;

/// The replicas of a partition in the order of the ring, always the same one first, so that coordinators do not
/// fight over one partition; then all other nodes. The driver does so by itself for what it knows to be
/// conditional, which a batch never is.
#[derive(Debug)]
pub(crate) struct InOrder {
    pub(crate) datacenter: String,
}

impl InOrder {
    fn plan<'a>(
        &'a self,
        request: &RoutingInfo<'_>,
        cluster: &'a ClusterState,
    ) -> impl Iterator<Item = (NodeRef<'a>, Option<Shard>)> + use<'a> {
        let locator = cluster.replica_locator();
        let replicas = request.token.zip(request.table).and_then(|(token, table)| {
            let strategy = &cluster.get_keyspace(table.ks_name())?.strategy;
            let replicas = locator.replicas_for_token(token, strategy, Some(&self.datacenter), table);
            let ordered = replicas.into_replicas_ordered().into_iter();
            Some(ordered.map(|(node, shard)| (node, Some(shard))).collect::<Vec<_>>())
        });
        let replicas = replicas.unwrap_or_default();
        let known: Vec<_> = replicas.iter().map(|(node, _)| node.host_id).collect();
        let is_near = |node: &NodeRef<'a>| node.datacenter.as_deref() == Some(self.datacenter.as_str());
        let others = cluster.get_nodes_info().iter().filter(is_near);
        let others = others.filter(move |node| !known.contains(&node.host_id)).map(|node| (node, None));
        let all = replicas.into_iter().chain(others);
        all.filter(|(node, _)| node.is_enabled() && node.is_connected())
    }
}

impl LoadBalancingPolicy for InOrder {
    fn pick<'a>(
        &'a self,
        request: &'a RoutingInfo,
        cluster: &'a ClusterState,
    ) -> Option<(NodeRef<'a>, Option<Shard>)> {
        self.plan(request, cluster).next()
    }

    fn fallback<'a>(&'a self, request: &'a RoutingInfo, cluster: &'a ClusterState) -> FallbackPlan<'a> {
        let rest: Vec<_> = self.plan(request, cluster).skip(1).collect();
        Box::new(rest.into_iter())
    }

    fn name(&self) -> String {
        "InOrder".to_owned()
    }
}
