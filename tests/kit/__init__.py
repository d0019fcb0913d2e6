"""What tests share: toys, plans, pools that compute nothing, tables, and ways to make things fail."""
