"""What goes in and out of chainrule: model files, and other libraries' ways of saying the same."""
