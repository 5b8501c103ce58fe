"""Tables shipped with jaxnets; README.md beside them says where they come from."""
