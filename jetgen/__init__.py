"""jetgen: conditional point-cloud jets. Nothing is here yet; it comes with its own version of the package."""
