"""What rufusd is measured beside."""
