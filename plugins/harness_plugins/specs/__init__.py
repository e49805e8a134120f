"""What is known of the built-in models before they are imported: one list a family."""
