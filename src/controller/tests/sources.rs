//! Lists from the API server.

use super::*;

#[test]
fn what_a_list_does_not_name_is_gone_and_then_it_is_synced() {
    let mut ground = Ground::serving();
    assert_eq!(ground.cluster.missing().len(), 3);
    for source in Wanted::all().sources() {
        let list = [Change::Relist(source), Change::Listed(source)];
        assert!(ground.cluster.apply(list));
    }
    let snapshot = ground.cluster.snapshot();
    assert!(snapshot.nodes.is_empty() && snapshot.virtual_services.is_empty());
    assert!(ground.cluster.objects().is_empty() && ground.cluster.reports().is_empty());
    assert_eq!(ground.cluster.missing(), Vec::<String>::new());
}
