//! The main stories.

use lockstep_reconcile::view::Word;

use crate::apps::{app, config_map, deployment, key};
use crate::world::World;

#[test]
fn a_first_sync_creates_everything_and_ends_synced() {
    let mut world = World::new(1);
    let shop = key("shop");
    world.push(&shop, vec![config_map("a", "1"), deployment("web", "1")]);
    world.specify(app("shop"));
    world.settle(5);
    assert_eq!(world.writes, [
        "shop claims",
        "shop + ConfigMap shop/a: in git, not in the cluster",
        "shop + apps/Deployment shop/web: in git, not in the cluster",
        "shop claims",
    ]);
    let view = world.view(&shop);
    assert_eq!((view.word, view.why), (Word::Synced, None));
}
